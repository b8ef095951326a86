"use strict";
/* Everything is inlined and nothing is stored or fetched: the page must work in a sandboxed frame without an origin. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const FIELD_OF_VIEW = (40 * Math.PI) / 180;
  const NEAREST = 0.4, FARTHEST = 12;

  // -- decoding: base64 of zlib of byte planes of differences -----------------------------------------------------------

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** Joins byte planes into integers; `columns` interleaved columns were each stored as differences. */
  function joinPlanes(bytes, width, columns, isDifference) {
    const count = bytes.length / width;
    const values = width === 4 ? new Uint32Array(count) : width === 2 ? new Uint16Array(count) : new Uint8Array(count);
    for (let plane = 0; plane < width; plane++)
      for (let i = 0; i < count; i++) values[i] |= bytes[plane * count + i] << (8 * plane);
    if (isDifference) for (let i = columns; i < count; i++) values[i] += values[i - columns];
    return values;
  }

  async function decodePart(part) {
    const [positionBytes, indexBytes, colors, uvBytes] = await Promise.all([
      unpack(part.positions), unpack(part.indices),
      part.colors ? unpack(part.colors) : null, part.uvs ? unpack(part.uvs) : null,
    ]);
    const steps = joinPlanes(positionBytes, 2, 3, true);
    const positions = new Float32Array(steps.length);
    for (let i = 0; i < steps.length; i++) positions[i] = part.low[i % 3] + (steps[i] / 65535) * part.extent;
    const indices = joinPlanes(indexBytes, 4, 1, true);
    const decoded = { positions, indices, base: part.base, smooth: part.smooth };
    if (colors) decoded.colors = joinPlanes(colors, 1, 3, true);
    if (uvBytes) decoded.uvs = new Float32Array(joinPlanes(uvBytes, 4, 1, false).buffer);
    decoded.normals = part.smooth ? smoothNormals(positions, indices) : null;
    if (part.texture) decoded.texture = await loadImage(part.texture);
    return decoded;
  }

  function smoothNormals(positions, indices) {
    const normals = new Float32Array(positions.length);
    for (let i = 0; i < indices.length; i += 3) {
      const a = 3 * indices[i], b = 3 * indices[i + 1], c = 3 * indices[i + 2];
      const ux = positions[b] - positions[a], uy = positions[b + 1] - positions[a + 1], uz = positions[b + 2] - positions[a + 2];
      const vx = positions[c] - positions[a], vy = positions[c + 1] - positions[a + 1], vz = positions[c + 2] - positions[a + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      for (const corner of [a, b, c]) { normals[corner] += nx; normals[corner + 1] += ny; normals[corner + 2] += nz; }
    }
    return normals;
  }

  function loadImage(source) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a texture could not be decoded"));
      image.src = source;
    });
  }

  function uniqueEdges(indices) {
    const keys = new Float64Array(indices.length);
    for (let i = 0; i < indices.length; i++) {
      const a = indices[i], b = indices[i % 3 === 2 ? i - 2 : i + 1];
      keys[i] = Math.min(a, b) * 67108864 + Math.max(a, b);
    }
    keys.sort();
    const edges = new Uint32Array(2 * keys.length);
    let used = 0;
    for (let i = 0; i < keys.length; i++) {
      if (i && keys[i] === keys[i - 1]) continue;
      edges[used++] = Math.floor(keys[i] / 67108864);
      edges[used++] = keys[i] % 67108864;
    }
    return edges.slice(0, used);
  }

  // -- drawing: one WebGL2 context for the page (browsers allow about 16), copied into each view's canvas ----------------

  const VERTEX = `#version 300 es
    layout(location=0) in vec3 position; layout(location=1) in vec3 normal; layout(location=2) in vec3 color; layout(location=3) in vec2 uv;
    uniform mat4 view, projection;
    out vec3 eyePosition, worldNormal, tint; out vec2 place;
    void main() {
      vec4 eye = view * vec4(position, 1.0);
      eyePosition = eye.xyz; worldNormal = normal; tint = color; place = uv;
      gl_Position = projection * eye;
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 eyePosition, worldNormal, tint; in vec2 place;
    uniform mat4 view; uniform vec3 base; uniform sampler2D image; uniform bool isSmooth, hasImage; uniform int shading; uniform float glow;
    out vec4 result;
    vec3 toLinear(vec3 c) { return mix(c / 12.92, pow((c + 0.055) / 1.055, vec3(2.4)), step(0.04045, c)); }
    vec3 toDisplay(vec3 c) { c = clamp(c, 0.0, 1.0); return mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c)); }
    void main() {
      vec3 toEye = normalize(-eyePosition);
      vec3 n = isSmooth && dot(worldNormal, worldNormal) > 0.0 ? normalize(mat3(view) * worldNormal)
                                                                 : normalize(cross(dFdx(eyePosition), dFdy(eyePosition)));
      if (dot(n, toEye) < 0.0) n = -n;
      vec3 world = transpose(mat3(view)) * n;
      if (shading == 2) { result = vec4(world * 0.5 + 0.5, 1.0); return; }
      vec3 albedo = shading == 1 ? vec3(0.46) : toLinear(base * tint) * (hasImage ? toLinear(texture(image, place).rgb) : vec3(1.0));
      vec3 key = normalize(vec3(-0.45, 0.75, 0.6)), fill = normalize(vec3(0.8, 0.1, 0.4));
      float ambient = mix(0.30, 0.52, world.y * 0.5 + 0.5) * glow;
      float light = ambient + 0.62 * max(dot(n, key), 0.0) + 0.16 * max(dot(n, fill), 0.0);
      float shine = 0.05 * pow(max(dot(n, normalize(key + toEye)), 0.0), 24.0);
      result = vec4(toDisplay(albedo * light + shine), 1.0);
    }`;
  const PLAIN_VERTEX = `#version 300 es
    layout(location=0) in vec3 position; uniform mat4 view, projection; out vec2 ground; uniform vec4 spread;
    void main() { ground = (position.xz - spread.xy) / spread.zw; gl_Position = projection * view * vec4(position, 1.0); }`;
  const LINE_FRAGMENT = `#version 300 es
    precision mediump float; in vec2 ground; uniform vec4 paint; out vec4 result;
    void main() { result = vec4(paint.rgb * paint.a, paint.a); }`;
  const SHADOW_FRAGMENT = `#version 300 es
    precision mediump float; in vec2 ground; uniform vec4 paint; out vec4 result;
    void main() { float strength = paint.a * smoothstep(1.0, 0.0, length(ground)); result = vec4(paint.rgb * strength, strength); }`;

  const surface = document.createElement("canvas");
  const gl = surface.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
  let programs = null, shadowQuad = null, generation = 0;

  function makeProgram(vertex, fragment) {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error("shader: " + gl.getProgramInfoLog(program));
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(program, i).name;
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    return { program, uniforms };
  }

  function startContext() {
    generation++;
    programs = { solid: makeProgram(VERTEX, FRAGMENT), line: makeProgram(PLAIN_VERTEX, LINE_FRAGMENT), shadow: makeProgram(PLAIN_VERTEX, SHADOW_FRAGMENT) };
    shadowQuad = gl.createBuffer();
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  function bufferOf(target, values) {
    const buffer = gl.createBuffer();
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, values, gl.STATIC_DRAW);
    return buffer;
  }

  function upload(part) {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (slot, values, size, kind, normalized) => {
      if (!values) { gl.disableVertexAttribArray(slot); return; }
      bufferOf(gl.ARRAY_BUFFER, values);
      gl.enableVertexAttribArray(slot);
      gl.vertexAttribPointer(slot, size, kind, normalized, 0, 0);
    };
    attribute(0, part.positions, 3, gl.FLOAT, false);
    attribute(1, part.normals, 3, gl.FLOAT, false);
    attribute(2, part.colors, 3, gl.UNSIGNED_BYTE, true);
    attribute(3, part.uvs, 2, gl.FLOAT, false);
    bufferOf(gl.ELEMENT_ARRAY_BUFFER, part.indices);
    gl.bindVertexArray(null);
    let texture = null;
    if (part.texture) {
      texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, part.texture);
      gl.generateMipmap(gl.TEXTURE_2D);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    }
    part.gpu = { generation, array, texture, lines: null, numLines: 0 };
  }

  function uploadLines(part) {
    const edges = part.edges || (part.edges = uniqueEdges(part.indices));
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    bufferOf(gl.ARRAY_BUFFER, part.positions);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    bufferOf(gl.ELEMENT_ARRAY_BUFFER, edges);
    gl.bindVertexArray(null);
    part.gpu.lines = array;
    part.gpu.numLines = edges.length;
  }

  function viewMatrix(view) {
    const { azimuth, elevation, distance, target } = view;
    const ca = Math.cos(azimuth), sa = Math.sin(azimuth), ce = Math.cos(elevation), se = Math.sin(elevation);
    const back = [sa * ce, se, ca * ce], right = [ca, 0, -sa], up = [-sa * se, ce, -ca * se];
    const eye = back.map((value, axis) => target[axis] + distance * value);
    const against = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    return new Float32Array([right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
      against(right), against(up), against(back), 1]);
  }

  function projectionMatrix(near, far) {
    const scale = 1 / Math.tan(FIELD_OF_VIEW / 2);
    return new Float32Array([scale, 0, 0, 0, 0, scale, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  }

  const state = { shading: "color", link: "row", wireframe: false, spin: false };
  const isDark = () => document.documentElement.dataset.theme === "dark";

  function draw(panel) {
    const size = Math.min(1400, Math.max(2, Math.round(panel.canvas.clientWidth * (window.devicePixelRatio || 1))));
    if (panel.canvas.width !== size) panel.canvas.width = panel.canvas.height = size;
    if (surface.width < size || surface.height < size) surface.width = surface.height = size;
    gl.viewport(0, surface.height - size, size, size);
    gl.clearColor(0, 0, 0, 0);
    gl.disable(gl.SCISSOR_TEST);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const view = viewMatrix(panel.view), projection = projectionMatrix(Math.max(0.02, panel.view.distance - 2), panel.view.distance + 3);

    const { program, uniforms } = programs.solid;
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.view, false, view);
    gl.uniformMatrix4fv(uniforms.projection, false, projection);
    gl.uniform1i(uniforms.shading, { color: 0, clay: 1, normals: 2 }[state.shading]);
    gl.uniform1f(uniforms.glow, isDark() ? 0.9 : 1.0);
    gl.uniform1i(uniforms.image, 0);
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1, 1);
    for (const part of panel.parts) {
      if (!part.gpu || part.gpu.generation !== generation) upload(part);
      gl.uniform3fv(uniforms.base, part.base);
      gl.uniform1i(uniforms.isSmooth, part.smooth ? 1 : 0);
      gl.uniform1i(uniforms.hasImage, part.gpu.texture ? 1 : 0);
      gl.bindTexture(gl.TEXTURE_2D, part.gpu.texture);
      gl.bindVertexArray(part.gpu.array);
      if (!part.colors) gl.vertexAttrib3f(2, 1, 1, 1);
      gl.drawElements(gl.TRIANGLES, part.indices.length, gl.UNSIGNED_INT, 0);
    }
    gl.disable(gl.POLYGON_OFFSET_FILL);
    gl.enable(gl.BLEND);
    if (state.wireframe) {
      const numFaces = panel.parts.reduce((sum, part) => sum + part.indices.length / 3, 0);
      const strength = Math.max(0.08, Math.min(0.5, 0.5 * Math.sqrt(4000 / numFaces))); // or dense meshes turn plain
      const paint = isDark() ? [1, 1, 1, strength] : [0.05, 0.1, 0.2, strength];
      startPlain(programs.line, view, projection, paint, [0, 0, 1, 1]);
      for (const part of panel.parts) {
        if (!part.gpu.lines) uploadLines(part);
        gl.bindVertexArray(part.gpu.lines);
        gl.drawElements(gl.LINES, part.gpu.numLines, gl.UNSIGNED_INT, 0);
      }
    }
    drawShadow(panel.bounds, view, projection);
    gl.disable(gl.BLEND);
    gl.bindVertexArray(null);
    const context = panel.canvas.getContext("2d");
    context.clearRect(0, 0, size, size);
    context.drawImage(surface, 0, 0, size, size, 0, 0, size, size);
  }

  function startPlain({ program, uniforms }, view, projection, paint, spread) {
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.view, false, view);
    gl.uniformMatrix4fv(uniforms.projection, false, projection);
    gl.uniform4fv(uniforms.paint, paint);
    if (uniforms.spread) gl.uniform4fv(uniforms.spread, spread);
  }

  function drawShadow({ low, high }, view, projection) {
    const x = (low[0] + high[0]) / 2, z = (low[2] + high[2]) / 2;
    const wide = 0.75 * (high[0] - low[0]) + 0.05, deep = 0.75 * (high[2] - low[2]) + 0.05, y = low[1] - 0.004;
    startPlain(programs.shadow, view, projection, [0, 0, 0, isDark() ? 0.55 : 0.28], [x, z, wide, deep]);
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ARRAY_BUFFER, shadowQuad);
    const [x0, x1, z0, z1] = [x - wide, x + wide, z - deep, z + deep];
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([x0, y, z0, x0, y, z1, x1, y, z0, x1, y, z1]), gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    gl.enable(gl.CULL_FACE);
    gl.depthMask(false);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.depthMask(true);
    gl.disable(gl.CULL_FACE);
    gl.disableVertexAttribArray(0);
  }

  // -- the page ----------------------------------------------------------------------------------------------------------

  const panels = [];
  let isScheduled = false;

  function schedule(panel) {
    if (panel) panel.isStale = true;
    else for (const each of panels) each.isStale = true;
    if (!isScheduled) { isScheduled = true; requestAnimationFrame(drawStale); }
  }

  let lastTime = 0;
  function drawStale(time) {
    isScheduled = false;
    if (state.spin) {
      const turn = Math.min(0.1, (time - lastTime) / 1000) * 0.6;
      for (const panel of panels) { panel.view.azimuth += turn; panel.isStale = true; }
      isScheduled = true;
      requestAnimationFrame(drawStale);
    }
    lastTime = time;
    for (const panel of panels) {
      if (!panel.isStale || !panel.isVisible || !panel.parts || !gl || gl.isContextLost()) continue;
      panel.isStale = false;
      draw(panel);
    }
    document.documentElement.dataset.drawn = String(panels.filter((panel) => panel.parts && !panel.isStale).length);
  }

  const copyView = (view) => ({ ...view, target: [...view.target] });

  function share(panel) {
    panel.view.elevation = Math.max(-1.55, Math.min(1.55, panel.view.elevation));
    panel.view.distance = Math.max(NEAREST, Math.min(FARTHEST, panel.view.distance));
    for (const other of panels)
      if (other === panel || state.link === "all" || (state.link === "row" && other.row === panel.row)) {
        if (other !== panel) other.view = copyView(panel.view);
        schedule(other);
      }
  }

  function move(panel, dx, dy) {
    const { azimuth, elevation, distance, target } = panel.view;
    const scale = 2 * distance * Math.tan(FIELD_OF_VIEW / 2);
    const right = [Math.cos(azimuth), 0, -Math.sin(azimuth)];
    const up = [-Math.sin(azimuth) * Math.sin(elevation), Math.cos(elevation), -Math.cos(azimuth) * Math.sin(elevation)];
    for (let axis = 0; axis < 3; axis++) target[axis] += scale * (dy * up[axis] - dx * right[axis]);
  }

  function listen(panel) {
    const { canvas } = panel, pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const dx = (event.clientX - before[0]) / canvas.clientWidth, dy = (event.clientY - before[1]) / canvas.clientWidth;
      if (pointers.size === 2) {
        const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)[1];
        const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
        const is = Math.hypot(event.clientX - other[0], event.clientY - other[1]);
        panel.view.distance *= was / Math.max(1, is);
        move(panel, dx / 2, dy / 2);
      } else if (event.shiftKey || event.buttons === 2 || event.buttons === 4) move(panel, dx, dy);
      else { panel.view.azimuth -= 3.6 * dx; panel.view.elevation += 3.6 * dy; }
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      share(panel);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // let the page scroll
      event.preventDefault();
      panel.view.distance *= Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.003);
      share(panel);
    }, { passive: false });
    canvas.addEventListener("dblclick", () => { panel.view = copyView(panel.start); share(panel); });
    canvas.addEventListener("keydown", (event) => {
      const act = {
        ArrowLeft: () => { panel.view.azimuth -= 0.12; }, ArrowRight: () => { panel.view.azimuth += 0.12; },
        ArrowUp: () => { panel.view.elevation += 0.12; }, ArrowDown: () => { panel.view.elevation -= 0.12; },
        "+": () => { panel.view.distance *= 0.9; }, "=": () => { panel.view.distance *= 0.9; }, "-": () => { panel.view.distance *= 1.1; },
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
      share(panel);
    });
  }

  function element(kind, attributes, ...children) {
    const made = Object.assign(document.createElement(kind), attributes);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function figure(stage, label, text) {
    return element("figure", {}, stage, element("figcaption", {}, element("span", { textContent: label }), element("small", { textContent: text || "" })));
  }

  function buildRow(row, number) {
    const tiles = element("div", { className: "tiles" });
    for (const image of row.images) {
      const picture = element("img", { src: image.source, alt: image.label, className: image.width < 200 ? "small" : "" });
      tiles.append(figure(element("div", { className: "stage" }, picture), image.label, image.text));
    }
    for (const shape of row.shapes) {
      const canvas = element("canvas", { tabIndex: 0 });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${row.name}: ${shape.label}, a mesh that can be turned`);
      const message = element("div", { className: "message", textContent: shape.problem || "Loading …" });
      const stage = element("div", { className: "stage" }, shape.problem ? null : canvas, message);
      tiles.append(figure(stage, shape.label, shape.text));
      if (shape.problem) continue;
      const start = { ...row.view, target: [0, 0, 0] };
      const panel = { canvas, message, shape, row: number, start, view: copyView(start), isVisible: false, isStale: true, parts: null };
      panels.push(panel);
      listen(panel);
    }
    const title = element("h2", {}, element("span", { textContent: row.name }), row.text ? element("small", { textContent: row.text }) : null);
    return element("section", {}, title, tiles);
  }

  async function load(panel) {
    if (panel.isLoading) return;
    panel.isLoading = true;
    try {
      if (!gl) throw new Error("This browser has no WebGL 2, so the mesh cannot be drawn. Open the GLB file instead.");
      if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old to unpack the mesh. Open the GLB file instead.");
      const parts = await Promise.all(panel.shape.parts.map(decodePart));
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      for (const part of parts)
        for (let i = 0; i < part.positions.length; i++) {
          low[i % 3] = Math.min(low[i % 3], part.positions[i]);
          high[i % 3] = Math.max(high[i % 3], part.positions[i]);
        }
      panel.bounds = { low, high };
      panel.parts = parts;
      panel.shape.parts = null; // the packed text is not needed again
      panel.message.remove();
      schedule(panel);
    } catch (error) {
      panel.message.textContent = error.message;
    }
  }

  function choose(id, react) {
    const buttons = [...document.querySelectorAll(`#${id} button`)];
    for (const button of buttons)
      button.addEventListener("click", () => {
        for (const each of buttons) each.setAttribute("aria-checked", String(each === button));
        react(button.dataset.value);
      });
  }

  function toggle(id, react) {
    const button = document.getElementById(id);
    button.addEventListener("click", () => {
      const isOn = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isOn));
      react(isOn);
    });
  }

  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (dark) => { document.documentElement.dataset.theme = dark ? "dark" : "light"; schedule(null); };
  setTheme(prefersDark.matches);
  prefersDark.addEventListener("change", (event) => setTheme(event.matches));
  document.getElementById("theme").addEventListener("click", () => setTheme(!isDark()));
  document.getElementById("subtitle").textContent = data.subtitle;
  choose("shading", (value) => { state.shading = value; schedule(null); });
  choose("link", (value) => { state.link = value; });
  toggle("wireframe", (isOn) => { state.wireframe = isOn; schedule(null); });
  toggle("spin", (isOn) => { state.spin = isOn; schedule(null); });
  document.getElementById("reset").addEventListener("click", () => {
    for (const panel of panels) panel.view = copyView(panel.start);
    schedule(null);
  });

  document.getElementById("rows").append(...data.rows.map(buildRow));
  if (gl) {
    startContext();
    surface.addEventListener("webglcontextlost", (event) => event.preventDefault());
    surface.addEventListener("webglcontextrestored", () => { startContext(); schedule(null); });
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const panel = panels.find((each) => each.canvas === entry.target);
      panel.isVisible = entry.isIntersecting;
      if (panel.isVisible) { load(panel); schedule(panel); }
    }
  }, { rootMargin: "300px" });
  for (const panel of panels) watcher.observe(panel.canvas);
  new ResizeObserver(() => schedule(null)).observe(document.getElementById("rows"));
})();
