"""The few file-system steps that publishing is made of: each leaves the old state or the new one, never half of one."""

import os
import shutil
from pathlib import Path


def point(link: Path, target: str) -> None:
    """Flips a symbolic link to a sibling by rename."""
    temporary = link.with_name(link.name + ".tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    sync(link.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it over the old one."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    sync(part)
    os.replace(part, path)


def discard(folder: Path) -> None:
    """Removes a folder so that no half-removed one is ever seen under its name."""
    gone = folder.with_name(folder.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flushes a folder and all that is in it to the disk."""
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            sync(entry)
    sync(folder)


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
