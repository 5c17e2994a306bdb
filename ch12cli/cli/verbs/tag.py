"""`ch12 tag`: attaches words to a run, by which `ch12 runs --filter tags~WORD` finds it."""

from collections.abc import Sequence

from ch12cli.catalogue.entries import entry_at
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.errors import InputError
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.tags import read_tags, require_valid, update_tags


def parser() -> Arguments:
    arguments = Arguments("tag")
    arguments.add_argument("--remove", action="store_true", help="remove the tags")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("tag: no run given; name one: ch12 tag @1 good")
    path, given = find_run(options.operands[0]), options.operands[1:]
    entry_at(path)
    tags = read_tags(path)
    missing = [word for word in given if options.remove and word not in tags]
    if missing:
        raise InputError(f"{missing[0]}: {path} has no such tag; it has {', '.join(tags) or 'none'}")
    if given:
        tags = [tag for tag in tags if tag not in given] if options.remove else list(dict.fromkeys([*tags, *given]))
        require_valid(path, tags)
        if recorded_job(path) is not None:
            from ch12cli.saved.unpack import unpack_job

            unpack_job(path)  # the record is not changed
        update_tags(path, add=() if options.remove else given, remove=given if options.remove else ())
    print(" ".join(read_tags(path)) or "no tags")
    return 0
