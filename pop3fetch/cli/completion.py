"""Completion in bash, zsh and fish: click finds the candidates, and these scripts insert them.

click's own scripts know neither a path behind a prefix (``maildir:DIR``) nor a candidate that is not followed
by a blank, and break at colons. The files in ``completions/`` are these scripts; they are printed with
``_POP3FETCH_COMPLETE=bash_source``.

A candidate is ``plain``, a ``stem`` that is typed on, or a path, ``dir`` or ``file``, behind a prefix. The
shell completes paths itself, because it knows how to quote them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import copy
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

BASH = r"""_pop3fetch_completion() {
    local line type prefix value found paths replies=() strip=
    local word=${2//\\/}  # readline's: it begins behind a colon or an equals sign
    while IFS= read -r line; do
        IFS=, read -r type prefix value <<< "$line"
        paths=()
        case $type in
            typed) [[ $value == *"$word" ]] && strip=${value%"$word"} ;;
            dir) mapfile -t paths < <(compgen -d -- "$value") ;;
            file) mapfile -t paths < <(compgen -f -- "$value") ;;
            stem) replies+=("$value"); compopt -o nospace ;;
            plain) replies+=("$value") ;;
        esac
        for found in "${paths[@]}"; do
            if [[ ${prefix#"$strip"} ]]; then  # in quotes: readline does not see a path
                [[ -d $found ]] && found+=/
                compopt -o nospace
            else
                compopt -o filenames
            fi
            replies+=("$prefix$found")
        done
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" _POP3FETCH_COMPLETE=bash_complete "$1")
    COMPREPLY=("${replies[@]#"$strip"}")
}

complete -o nosort -F _pop3fetch_completion pop3fetch
"""

ZSH = r"""#compdef pop3fetch

_pop3fetch() {
    local type value prefix
    local -a response described plain stems
    (( ! $+commands[pop3fetch] )) && return 1

    response=("${(@f)$(env _POP3FETCH_COMPLETE=zsh_complete COMP_WORDS="${words[1,CURRENT]}" \
        COMP_CWORD=$((CURRENT-1)) pop3fetch)}")

    [[ $PREFIX == --*=* ]] && compset -P '*='
    for type value prefix in "${response[@]}"; do
        case $type in
            described) described+=("$value:$prefix") ;;
            plain) plain+=("$value") ;;
            stem) stems+=("$value") ;;
            dir) compset -P "$prefix"; _path_files -/ ;;
            file) compset -P "$prefix"; _path_files ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described
    (( $#plain )) && compadd -V unsorted -a plain
    (( $#stems )) && compadd -S '' -a stems
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    # autoload from fpath, call function directly
    _pop3fetch "$@"
else
    # eval/source/. command, register function for later
    compdef _pop3fetch pop3fetch
fi
"""

FISH = r"""function _pop3fetch_completion
    set -l words (commandline -cp | string collect)
    set -l word (commandline -ct | string collect)
    for line in (env _POP3FETCH_COMPLETE=fish_complete COMP_WORDS=$words COMP_CWORD=$word pop3fetch)
        set -l parts (string split --max 2 "," -- $line)
        switch $parts[1]
            case dir
                printf '%s\n' $parts[2](__fish_complete_directories $parts[3] "")
            case file
                printf '%s\n' $parts[2](__fish_complete_path $parts[3] "")
            case plain stem
                echo $parts[2]$parts[3]
        end
    end
end

complete --no-files --command pop3fetch --arguments "(_pop3fetch_completion)"
"""


class _Leading(ShellComplete):
    """Options may come before the command."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        if [*args, incomplete][0].startswith("-"):
            from pop3fetch.cli.leading_words import in_order, leading_options
            from pop3fetch.errors import UsageError

            self.cli = group = copy(self.cli)
            assert isinstance(group, click.Group)
            group.params = [*group.params, *leading_options(group)]
            with suppress(click.UsageError, UsageError):  # what is wrong may become right
                args = in_order(args, group) if args else args
        return super().get_completions(args, incomplete)


class Bash(_Leading, BashComplete):
    """``type,prefix,value`` in each line; the first has what is typed so far of the word."""

    def source(self) -> str:
        return BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]  # up to the cursor
        words = split_arg_string(line)
        # A letter more makes the last word longer, or begins the next.
        begins = len(split_arg_string(f"{line}x")) > len(words)
        return words[1:] if begins else words[1:-1], "" if begins else words[-1]

    def complete(self) -> str:
        _, typed = self.get_completion_args()
        if typed.startswith("--"):  # --option=VALUE
            typed = typed.partition("=")[2] or typed
        return f"typed,,{typed}\n{super().complete()}"

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{item.prefix or ''},{item.value}"


class Zsh(_Leading, ZshComplete):
    """Three lines for each: type, value and description, or the prefix of a path."""

    def source(self) -> str:
        return ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        if item.help:
            return "described\n{}\n{}".format(item.value.replace(":", r"\:"), item.help.replace("\n", " "))
        return f"{item.type}\n{item.value}\n{item.prefix or ''}"


class Fish(_Leading, FishComplete):
    """``type,prefix,value`` in each line, with a description behind a tab."""

    def source(self) -> str:
        return FISH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        typed = os.environ["COMP_CWORD"]
        option = typed.partition("=")[0] + "=" if typed.startswith("--") and "=" in typed else ""
        shown = "\t" + item.help.replace("\n", " ").replace("\t", " ") if item.help else ""
        return f"{item.type},{option}{item.prefix or ''},{item.value}{shown}"


def complete_destination(incomplete: str) -> list[CompletionItem[str]]:
    """Return what may follow ``-o``: a kind of destination, and the path behind it."""
    from pop3fetch.delivery.kinds import PATHS

    kinds = {f"{kind.value}:": path_of.lower() for kind, path_of in PATHS.items()}
    for prefix, path_of in kinds.items():
        if incomplete.startswith(prefix):
            return [CompletionItem(incomplete.removeprefix(prefix), type=path_of, prefix=prefix)]
    stems = [CompletionItem(prefix, type="stem") for prefix in kinds if prefix.startswith(incomplete)]
    return [*stems, CompletionItem(incomplete, type="dir")]


def complete_program(incomplete: str) -> list[CompletionItem[str]]:
    """Return the programs on the PATH, or the path of one; nothing for the words that follow it."""
    if not incomplete.isprintable() or " " in incomplete:
        return []
    if "/" in incomplete or incomplete.startswith("~"):
        return [CompletionItem(incomplete, type="file")]
    names: set[str] = set()
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        with suppress(OSError), os.scandir(folder or ".") as entries:
            names.update(
                entry.name
                for entry in entries
                if entry.name.startswith(incomplete)
                and entry.name.isprintable()
                and entry.is_file()
                and os.access(entry.path, os.X_OK)
            )
    return [CompletionItem(name) for name in sorted(names)]


def complete(commands: click.Command, variable: str, instruction: str) -> int:
    """Print the script of a shell, or what may follow the words that it has; return the exit status.

    ``instruction``: the value of the ``variable``, such as ``bash_source`` and ``bash_complete``.
    """
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
    return shell_complete(commands, {}, "pop3fetch", variable, instruction)
