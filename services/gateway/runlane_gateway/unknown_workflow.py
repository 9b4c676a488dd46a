"""What a door says of a workflow that it does not find: mostly a name mistyped, or a file that does not import."""

from runlane.directory import Directory
from runlane.errors import NotFound


def unknown_workflow(name: str, directory: Directory) -> NotFound:
    """The error, with where to look. One that is disabled for an organisation gets the same words."""
    broken = sum(1 for _ in directory.import_failures())
    files = "workflow file" if broken == 1 else "workflow files"
    hint = f" {broken} {files} could not be imported: see /workflows (`runlane workflows`)." if broken else ""
    return NotFound(f"There is no workflow {name[:64]!r} here.{hint}")
