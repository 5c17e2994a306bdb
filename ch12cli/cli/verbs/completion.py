"""`ch12 completion`: prints a shell completion script, and answers the script's queries."""

from collections.abc import Sequence

from ch12cli.cli.help.arguments import Arguments
from ch12cli.cli.help.candidates import answer_for
from ch12cli.cli.help.overview import option_lines, usage
from ch12cli.cli.help.page import definitions, heading, join_pages, paragraph, printable
from ch12cli.errors import InputError
from ch12cli.suggest import did_you_mean

# The command that adds completion to the shell's startup file. The script itself needs no ch12 when it is read, so
# that a shell outside the environment starts without an error, and completes once the environment is active.
INSTALL = {
    "bash": "ch12 completion bash >> ~/.bashrc",
    "zsh": "ch12 completion zsh >> ~/.zshrc",
    "fish": "ch12 completion fish >> ~/.config/fish/config.fish",
}

# Each script calls `ch12 completion query` through the name used to call ch12. The first line of the answer is
# `words`, `folders` or `files`; the candidates follow, one per line. No blank may follow a candidate ending in =.
SCRIPTS = {
    "bash": r"""
# Tab completion of ch12 for bash, from `ch12 completion bash`
_ch12() {
    local answer candidate
    COMPREPLY=()
    # what readline replaces begins behind the last of COMP_WORDBREAKS, = and : among them
    answer=$("${1/#\~\//$HOME/}" completion query bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    case ${answer%%$'\n'*} in
        folders) compopt -o dirnames +o nospace ;;
        files) compopt -o default +o nospace ;;
        words)
            while IFS= read -r candidate; do COMPREPLY+=("$candidate"); done < <(tail -n +2 <<<"$answer")
            ;;
    esac
}
complete -o nospace -o nosort -F _ch12 ch12
""",
    "zsh": r"""
# Tab completion of ch12 for zsh, from `ch12 completion zsh`
_ch12() {
    local -a answer unfinished unfinished_shown finished finished_shown
    local entry word shown
    local -i longest=0
    local -a line=("${(@Q)words[1,CURRENT-1]}" "$PREFIX")
    answer=("${(@f)$("${line[1]/#\~\//$HOME/}" completion query zsh -- "${line[@]}" 2>/dev/null)}")
    case $answer[1] in
        folders) compset -P '*='; _files -/ ;;
        files) compset -P '*='; _files ;;
        words)
            for entry in $answer[2,-1]; do (( ${#entry%%$'\t'*} > longest )) && longest=${#entry%%$'\t'*}; done
            for entry in $answer[2,-1]; do
                word=${entry%%$'\t'*}
                shown="${(r:$longest:)word}  ${entry#*$'\t'}"
                shown=${shown[1,COLUMNS-1]}
                if [[ $word == *= ]]; then unfinished+=($word) unfinished_shown+=($shown)
                else finished+=($word) finished_shown+=($shown); fi
            done
            # _describe would reverse the order of candidates with the same description
            compadd -V words -l -S '' -d unfinished_shown -a unfinished
            compadd -V words -l -d finished_shown -a finished
            ;;
    esac
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _ch12 ch12
""",
    "fish": r"""
# Tab completion of ch12 for fish, from `ch12 completion fish`
function __ch12_complete
    set -l words (commandline -opc)
    set -l current (string trim --left --chars '"\'' -- (commandline -ct))
    set -l answer ($words[1] completion query fish -- $words "$current" 2>/dev/null)
    set -l start (string match -r '^[^=]*=' -- "$current")
    switch "$answer[1]"
        case words
            printf '%s\n' $answer[2..-1]
        case folders
            printf '%s\n' "$start"(__fish_complete_directories (string replace -- "$start" '' "$current") '')
        case files
            printf '%s\n' "$start"(__fish_complete_path (string replace -- "$start" '' "$current"))
    end
end
complete -c ch12 -e
complete -c ch12 -f -k -a '(__ch12_complete)'
""",
}


def parser() -> Arguments:
    arguments = Arguments("completion", own_help=True)
    return arguments


def run(argv: Sequence[str]) -> int:
    if argv[:1] == ["query"]:  # the other arguments are the line to complete, not options
        print("\n".join(query(argv[1:])))
        return 0
    options = parser().read(argv)
    if options.help:
        print(format_completion_help())
        return 0
    if len(options.operands) != 1:
        raise InputError(f"name one shell, {', '.join(SCRIPTS)}; see `ch12 completion --help`")
    shell = options.operands[0]
    if shell not in SCRIPTS:
        hint = did_you_mean(shell, SCRIPTS) or f"; there are {', '.join(SCRIPTS)}"
        raise InputError(f"{shell}: no completion for such a shell{hint}")
    print(SCRIPTS[shell].strip())
    return 0


def format_completion_help() -> str:
    """Returns the page of `ch12 completion --help`."""
    return join_pages(
        [
            usage("completion bash|zsh|fish"),
            paragraph("Prints a script for tab completion of ch12's commands, options, groups, keys and values."),
            [heading("To switch it on permanently, once"), *definitions(INSTALL.items())],
            [
                heading("In this shell only"),
                *definitions(
                    [
                        ("bash", 'eval "$(ch12 completion bash)"'),
                        ("zsh", 'eval "$(ch12 completion zsh)"'),
                        ("fish", "ch12 completion fish | source"),
                    ]
                ),
            ],
            [heading("Options"), *option_lines("completion")],
        ]
    )


def query(argv: Sequence[str]) -> list[str]:
    """Returns the lines that answer a shell script's query.

    argv: the shell and `--`. For bash, the line up to the cursor and COMP_WORDBREAKS follow. For other shells, the
    words up to the cursor follow, the current one last.
    """
    shell, rest = (argv[0] if argv else ""), argv[2:]
    if shell == "bash":
        line, breaks = [*rest, "", ""][:2]
        typed, current, is_quoted = split_line(line)
        answer = answer_for(typed[1:], current)
        start = 0 if is_quoted else 1 + max((current.rfind(letter) for letter in breaks), default=-1)
        ends = {word: "" if is_quoted or word.endswith("=") else " " for word, _ in answer.candidates}
        return [answer.kind, *(word[start:] + end for word, end in ends.items())]
    answer = answer_for(rest[1:-1], rest[-1] if rest else "")
    return [answer.kind, *(f"{candidate}\t{printable(meaning)}" for candidate, meaning in answer.candidates)]


def split_line(line: str) -> tuple[list[str], str, bool]:
    """Returns the complete words of a line, the current word, and whether that word has an open quote."""
    argv: list[str] = []
    current, quote, escaped = "", "", False
    for letter in line:
        if escaped:
            current, escaped = current + letter, False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif not quote and letter.isspace():
            argv, current = [*argv, current] if current else argv, ""
        else:
            current += letter
    return argv, current, bool(quote)
