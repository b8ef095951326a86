"""Print a script with which bash completes commands, options, recipes and the paths of their values.

    raylift completion > ~/.local/share/bash-completion/completions/raylift
    source <(raylift completion)      # for this shell alone

The script is self-contained: completing starts no Python. Make it again after an update of Raylift.
"""

from __future__ import annotations

import dataclasses
import importlib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import tyro
from rich.console import Console

from raylift.commands.main import COMMANDS
from raylift.config import tree
from raylift.config.ready_files import ready_names
from raylift.models import catalogue
from raylift.sweeps.config import READY as SWEEPS
from raylift.tables.paper_table import READY as TABLES

_SCRIPT = """\
# Completion of raylift for bash; made by "raylift completion".
_raylift() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
    local words= model= one
    for one in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
        case $one in
%(models)s
        esac
    done
    case "$command ${COMP_WORDS[2]}" in recipes\\ diff) model= ;; esac
    case "$command $before" in
        raylift\\ *|*\\ raylift) words="%(commands)s" ;;
%(values)s
        *\\ --*) ;;
        *)
            case $word in
            -*)
                case $command in
%(options)s
                esac ;;
            *)
                case $command in
%(names)s
                esac
                case $model in
%(paths)s
                esac ;;
            esac ;;
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then words="%(commands)s"; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    case ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac
}
complete -o default -F _raylift raylift
"""


@dataclass(frozen=True)
class Arguments:
    """Print a completion script.

    Attributes:
        shell: shell to complete for.
    """

    shell: typing.Annotated[Literal["bash"], tyro.conf.Positional] = "bash"


def main(arguments: Arguments, console: Console) -> None:
    """Print the script."""
    console.file.write(bash_script())


def bash_script() -> str:
    """The script, with the words of this installation."""
    recipes = " ".join([*catalogue.names(), *catalogue.chains()])
    options: dict[str, str] = {}
    values: dict[str, str] = {}
    for command in COMMANDS:
        found = dict(options_of(importlib.import_module(command.entry.partition(":")[0]).Arguments))
        options[command.name] = " ".join(["--help", *found])
        for option, choices in found.items():
            if option == "--recipe" or choices:
                values[f'"{command.name} {option}"'] = " ".join(choices) or recipes
    names = {"train": recipes, "recipes": f"list show diff {recipes}", "completion": "bash"}
    names |= {"prepare": "shapes images"}
    names |= {"sweep": " ".join(ready_names(SWEEPS)), "table": " ".join(ready_names(TABLES))}
    return _SCRIPT % {
        "commands": " ".join(command.name for command in COMMANDS),
        "models": _cases({f"{model}/*": model for model in catalogue.MODELS}, 12, "model"),
        "values": _cases(values, 8),
        "options": _cases(options, 20),
        "names": _cases(names, 20),
        "paths": _cases({model: " ".join(f"{path}=" for path in paths_of(model)) for model in catalogue.MODELS}, 20),
    }


def options_of(arguments: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Options of a command line with the words that they may take; none for any text.

    Args:
        arguments: a dataclass, or a union of them, as tyro reads it.
    """
    if typing.get_origin(arguments) in (typing.Union, types.UnionType):
        for part in typing.get_args(arguments):
            yield from options_of(part)
        return
    cls, _ = _unpacked(arguments)
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, marks = _unpacked(hints[field.name])
        option = f"--{field.name.replace('_', '-')}"
        if tyro.conf.Positional in marks or tyro.conf.Suppress in marks:
            continue
        if dataclasses.is_dataclass(hint):
            yield from options_of(hint)
        elif hint is bool:
            yield (f"--no-{option[2:]}" if field.default is True else option), ()
        else:
            yield option, tuple(_choices(hint))


def paths_of(model: str) -> list[str]:
    """Every path of a model's recipes."""
    found: dict[str, None] = {}
    for variant in catalogue.MODELS[model].variants:
        found |= dict.fromkeys(tree.flatten(catalogue.get(f"{model}/{variant}")))
    return [path for path in found if path != "name"]


def _unpacked(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and what it is annotated with."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, ()
    inner, *marks = typing.get_args(hint)
    return inner, tuple(marks)


def _choices(hint: Any) -> list[str]:
    if typing.get_origin(hint) is Literal:
        return [str(one) for one in typing.get_args(hint)]
    return [word for part in typing.get_args(hint) for word in _choices(part)]


def _cases(words: Mapping[str, str], indent: int, variable: str = "words") -> str:
    """Branches of a shell's case statement that set a variable."""
    return "\n".join(f'{"":{indent}}{pattern}) {variable}="{found}" ;;' for pattern, found in words.items())
