"use strict";
/* Curves as SVG, drawn from the page's data; nothing is fetched and nothing kept. */
(() => {
  const { charts } = JSON.parse(document.getElementById("data").textContent);
  const SPACE = "http" + "://www.w3.org/2000/svg"; // a name, no address: nothing is fetched from there
  const WIDTH = 380, HEIGHT = 220, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;
  let isLogarithmic = false;

  function svg(kind, attributes, ...children) {
    const made = document.createElementNS(SPACE, kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function element(kind, className, text) {
    return Object.assign(document.createElement(kind), { className, textContent: text || "" });
  }

  function shown(value) {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }

  /** About five round numbers that span a range. */
  function ticks(low, high) {
    const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9 * step; tick += step) found.push(Math.abs(tick) < 1e-12 * step ? 0 : tick);
    return found;
  }

  function scale(chart) {
    const points = chart.lines.flatMap((line) => line.points);
    const values = points.map((point) => point[1]), steps = points.map((point) => point[0]);
    const logs = isLogarithmic && Math.min(...values) > 0;
    const bend = logs ? Math.log10 : (value) => value;
    let low = bend(Math.min(...values)), high = bend(Math.max(...values));
    const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
    low -= margin;
    high += margin;
    const first = Math.min(...steps), last = Math.max(...steps, first + 1);
    return {
      x: (step) => LEFT + ((step - first) / (last - first)) * (WIDTH - LEFT - RIGHT),
      y: (value) => HEIGHT - BOTTOM - ((bend(value) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
      step: (x) => first + ((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (last - first),
      steps: ticks(first, last),
      values: ticks(low, high).map((tick) => (logs ? 10 ** tick : tick)),
    };
  }

  function draw(chart) {
    const place = scale(chart);
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": chart.title });
    for (const value of place.values) {
      const y = place.y(value);
      picture.append(svg("line", { class: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      picture.append(svg("text", { x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, shown(value)));
    }
    for (const step of place.steps) picture.append(svg("text", { x: place.x(step), y: HEIGHT - 6, "text-anchor": "middle" }, String(step)));
    for (const line of chart.lines) {
      const path = line.points.map(([step, value], index) => `${index ? "L" : "M"}${place.x(step).toFixed(1)} ${place.y(value).toFixed(1)}`).join("");
      const stroke = svg("path", { d: path, class: `run-${line.run % 8}` });
      if (line.run >= 8) stroke.setAttribute("stroke-dasharray", "5 3");
      picture.append(stroke);
    }
    return { picture, place };
  }

  function nearest(points, step) {
    let best = points[0];
    for (const point of points) if (Math.abs(point[0] - step) < Math.abs(best[0] - step)) best = point;
    return best;
  }

  function build(chart) {
    const box = element("div", "chart");
    const { picture, place } = draw(chart);
    const marks = svg("g", {});
    picture.append(marks);
    const tip = element("div", "tip");
    tip.hidden = true;
    const hide = () => { tip.hidden = true; marks.replaceChildren(); };
    picture.addEventListener("pointermove", (event) => {
      const bounds = picture.getBoundingClientRect();
      const wanted = place.step(((event.clientX - bounds.left) / bounds.width) * WIDTH);
      const [step] = nearest(chart.lines.flatMap((line) => line.points), wanted);
      const x = place.x(step);
      marks.replaceChildren(svg("line", { class: "guide", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
      tip.replaceChildren(element("strong", "", `step ${step}`));
      for (const line of chart.lines) {
        const [own, value] = nearest(line.points, step);
        tip.append(element("div", `run-${line.run % 8}`, `${line.label}: ${shown(value)}${own === step ? "" : ` (at ${own})`}`));
        marks.append(svg("circle", { class: `run-${line.run % 8}`, cx: place.x(own), cy: place.y(value), r: 3.5 }));
      }
      tip.hidden = false;
      const left = ((x / WIDTH) * bounds.width) + 12;
      const fits = bounds.left + left + tip.offsetWidth < document.documentElement.clientWidth;
      tip.style.left = `${fits ? left : Math.max(0, left - tip.offsetWidth - 24)}px`;
      tip.style.top = "26px";
    });
    picture.addEventListener("pointerleave", hide);
    box.append(element("h3", "", chart.title), picture, tip);
    return box;
  }

  const drawAll = () => {
    document.getElementById("charts").replaceChildren(...charts.map(build));
    document.documentElement.dataset.charts = String(charts.length);
  };
  document.getElementById("logarithmic").addEventListener("click", (event) => {
    isLogarithmic = !isLogarithmic;
    event.currentTarget.setAttribute("aria-pressed", String(isLogarithmic));
    drawAll();
  });
  drawAll();
})();
