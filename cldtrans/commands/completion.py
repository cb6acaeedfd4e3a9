"""Print what makes a shell complete commands, options and files."""

from __future__ import annotations

import argparse

SCRIPT = """\
_cldtrans() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} options=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _cldtrans cldtrans
"""


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans completion`."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="which shell")
    parser.epilog = 'In ~/.bashrc: eval "$(cldtrans completion bash)"; zsh needs the same line in ~/.zshrc.'


def run(args: argparse.Namespace) -> None:
    """Print a script that the shell evaluates: nothing runs while one types."""
    import pkgutil

    from cldtrans import commands

    names, cases = [], []
    for module in pkgutil.iter_modules(commands.__path__):
        parser = argparse.ArgumentParser()
        pkgutil.resolve_name(f"{commands.__name__}.{module.name}").add_args(parser)
        options = [word for action in parser._actions for word in action.option_strings if word[:2] == "--"]
        names.append(module.name.replace("_", "-"))
        cases.append(f'    {names[-1]}) options="{" ".join(options)}" ;;')
    if args.shell == "zsh":
        print("autoload -U bashcompinit && bashcompinit")
    print(SCRIPT.format(commands=" ".join(names), cases="\n".join(cases)), end="")
