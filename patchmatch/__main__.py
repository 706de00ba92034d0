"""Console entry point; what needs no torch is answered, or refused, before torch is imported."""

import sys


def main() -> None:
    """Run the command line."""
    from patchmatch.core.messages import write_any_text, write_error

    write_any_text()
    arguments = sys.argv[1:]
    from patchmatch.help import help_text

    if (text := help_text(arguments)) is not None:
        sys.stdout.write(text)
        return
    from patchmatch.arguments import prepare_arguments
    from patchmatch.core.errors import InputError

    try:
        arguments = prepare_arguments(arguments)
    except InputError as error:
        write_error("patchmatch", error)
        sys.exit(2)
    from patchmatch.core.process import configure_process

    configure_process()  # sets an environment variable; must precede the import of torch
    from patchmatch.cli import main as run

    run(arguments)


if __name__ == "__main__":
    main()
