"""Programs that do not work: they stand before the machine's own while a fault is on."""

import shutil

# Nothing here says `$PATH`: a script on the device may have changed it.
_MKTEMP_FULL = """#!/bin/sh
# mktemp on a full disk: the name can be made, but nothing fits into the file.
path=$({mktemp} "$@") || exit 1
ln -sf /dev/full "$path"
printf '%s\\n' "$path"
"""
_MKTEMP_READ_ONLY = """#!/bin/sh
# mktemp on a disk that was mounted read-only.
for template in "$@"; do :; done
echo "mktemp: failed to create file via template '${{template-tmp.XXXXXXXXXX}}': Read-only file system" >&2
exit 1
"""
_MKDIR_READ_ONLY = """#!/bin/sh
# mkdir on a disk that was mounted read-only: what is there is there.
for folder in "$@"; do :; done
[ -d "$folder" ] && exec {mkdir} "$@"
echo "mkdir: cannot create directory '$folder': Read-only file system" >&2
exit 1
"""
_UNREADABLE = """#!/bin/sh
# {name} on a disk that cannot read the settings any more.
case "$*" in
  *config.yaml* | *config.toml*) echo "{name}: error reading: Input/output error" >&2; exit 1 ;;
  *) exec {program} "$@" ;;
esac
"""
_DATE = """#!/bin/sh
# date on a machine whose clock is wrong.
case " $* " in
  *" -d"* | *" --date"* | *" -r"* | *" -s"*) exec {date} "$@" ;;
esac
exec {date} -d "@$(($({date} +%s) + {seconds}))" "$@"
"""


def _real(name: str) -> str:
    return shutil.which(name) or f"/bin/{name}"


def full_disk() -> dict[str, str]:
    """For a disk on which nothing can be written any more."""
    return {"mktemp": _MKTEMP_FULL.format(mktemp=_real("mktemp"))}


def read_only_disk() -> dict[str, str]:
    """For a disk that was mounted read-only."""
    return {"mktemp": _MKTEMP_READ_ONLY.format(), "mkdir": _MKDIR_READ_ONLY.format(mkdir=_real("mkdir"))}


def broken_disk() -> dict[str, str]:
    """For a disk that cannot read the settings."""
    return {name: _UNREADABLE.format(name=name, program=_real(name)) for name in ("dd", "head", "cat")}


def wrong_clock(seconds: int) -> dict[str, str]:
    """For a clock that is so far ahead."""
    return {"date": _DATE.format(date=_real("date"), seconds=seconds)}
