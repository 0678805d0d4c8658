"""Every rule that `validate` checks: what a finding means, why it matters, and what to do.

The ids are stable: programs may look for them in the JSON of a report.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """What there is to say of a kind of finding, each in a sentence or two."""

    meaning: str
    why: str
    fix: str


_CONVERT_AGAIN = "Convert the source again, or copy the volume again from where it is valid."
_PUT_BACK = (
    "If the change was a mistake, put the old file back, or convert again. If it was intended, "
    "write the volume again with `ngcore repair --accept-changes`, which seals it as it is now."
)

RULES: dict[str, Rule] = {
    "absent": Rule(
        "A chunk or a shard file is missing.",
        "Readers take absent chunks for zeros and do not warn.",
        _CONVERT_AGAIN,
    ),
    "added": Rule(
        "A volume that ngcore wrote has something that ngcore did not write.",
        "It may well be right; ngcore can't tell whether it belongs to the volume.",
        "Nothing, if you know who added it.",
    ),
    "annotations": Rule(
        "A file of a folder of annotations breaks the format or disagrees with its other indexes.",
        "Neuroglancer does not show these annotations, or shows them in the wrong place.",
        "Write the folder again, with `ngcore annotations` for instance.",
    ),
    "chunk": Rule(
        "A chunk can't be decoded, or has the wrong size.",
        "Readers fail there, and Neuroglancer shows a hole.",
        "`ngcore repair` fixes chunks that are only compressed in a wrong way. " + _CONVERT_AGAIN,
    ),
    "chunk-size": Rule(
        "A side of the chunks is longer than 2048 voxels.",
        "Neuroglancer draws such chunks black, without a message: its textures are no larger.",
        "Convert the source again with a smaller --chunk-size.",
    ),
    "digest": Rule(
        "The voxels of a scale differ from what ngcore wrote.",
        "Something changed them: a disk, a copy, or another program.",
        "`ngcore repair` makes a coarser scale again from the finest. " + _CONVERT_AGAIN,
    ),
    "digests-removed": Rule(
        "`provenance` says that ngcore wrote the volume, but the digests that it recorded "
        "are gone.",
        "Without them nobody can tell whether voxels have changed.",
        "Put the old `provenance` back, or convert again.",
    ),
    "duplicate": Rule(
        "Two files hold the same chunk.",
        "Which one a reader takes depends on the reader.",
        "`ngcore repair` leaves out the second one if both hold the same; otherwise remove one "
        "yourself.",
    ),
    "entries-changed": Rule(
        "The skeletons or annotations of a folder differ from what ngcore wrote.",
        "Some are gone, swapped, damaged, or somebody else's.",
        "Make them again, with --overwrite.",
    ),
    "file-changed": Rule(
        "A file beside the chunks differs from what ngcore wrote, or is missing.",
        "Names, colours, meshes or the place in the world may be wrong.",
        _PUT_BACK,
    ),
    "info": Rule(
        "`info` breaks a rule of the format, or Neuroglancer can't show what it says.",
        "Readers refuse the volume, or show it wrongly.",
        "`ngcore repair` fixes what has only one right fix; otherwise edit the member that is "
        "named.",
    ),
    "info-changed": Rule(
        "`info` is not what ngcore wrote.",
        "Voxels may lie in another place, have another size or another meaning.",
        _PUT_BACK,
    ),
    "interrupted": Rule(
        "A command of ngcore was interrupted while it changed the volume.",
        "Some of what it writes may be missing.",
        "Run the same command again.",
    ),
    "mesh": Rule(
        "A mesh or the folder of meshes breaks the format.",
        "Neuroglancer does not show the mesh, or shows it wrongly.",
        "Make the meshes again, with `ngcore mesh --overwrite` for instance.",
    ),
    "meshes-changed": Rule(
        "The meshes of a folder differ from what ngcore wrote.",
        "Some are gone, swapped, damaged, or somebody else's.",
        "Make them again with `ngcore mesh --overwrite`.",
    ),
    "misnamed": Rule(
        "A file is named like a chunk or a shard, but no such chunk or shard belongs here.",
        "Nobody reads it; the data may be missing where they should be.",
        "`ngcore repair` renames files whose name only spells the right one differently.",
    ),
    "not-fixed": Rule(
        "`repair` could not fix something.",
        "The copy has the same fault.",
        "See the message: it says what to do.",
    ),
    "properties": Rule(
        "The names and numbers of segments, or their colours, break the format.",
        "Neuroglancer shows none of them, or ids without names.",
        "`ngcore repair` puts ids in order; otherwise write them again with `ngcore labels`.",
    ),
    "provenance": Rule(
        "`provenance` can't be understood.",
        "What ngcore wrote can't be compared with what is there.",
        "Put the old file back, or convert again.",
    ),
    "provenance-changed": Rule(
        "What ngcore recorded in `provenance` was changed by somebody else.",
        "Its digests may belong to something other than what ngcore wrote.",
        "Put the old file back, or convert again.",
    ),
    "pyramid": Rule(
        "A coarser scale does not show what the finer one does.",
        "The picture changes as you zoom; one of the two scales is damaged.",
        "`ngcore repair` makes a coarser scale again from the finest.",
    ),
    "scale": Rule(
        "A scale could not be checked to its end.",
        "What comes after the fault was not checked.",
        "See the message.",
    ),
    "server": Rule(
        "The web server does not answer as Neuroglancer needs it.",
        "Pages may not read the data, or can't read parts of files.",
        "Set the server up as `ngcore server-config` says.",
    ),
    "shard": Rule(
        "A shard file's index breaks the format.",
        "The chunks or meshes in it can't be found.",
        "`ngcore repair` writes new shards with all chunks that can still be read.",
    ),
    "skeletons": Rule(
        "A skeleton or the folder of skeletons breaks the format, or a named one is missing.",
        "Neuroglancer does not show it, or lines go astray.",
        "Write the folder again, with `ngcore skeletons` for instance.",
    ),
    "stray": Rule(
        "A file is not part of what `info` describes.",
        "Nobody reads it. It may be a leftover, or in the wrong place.",
        "Remove it, or put it where it belongs.",
    ),
    "transform": Rule(
        "`transform.json` is not an affine matrix that can be inverted.",
        "The volume can't be placed in the world.",
        "Remove the file, or convert the source again.",
    ),
    "unchecked": Rule(
        "There is something that ngcore can't check.",
        "It may be valid or damaged.",
        "Install the extra that the message names, or check it with the program that wrote it.",
    ),
}


def as_markdown() -> str:
    """Return the page of all rules, `docs/findings.md`."""
    parts = [
        "# What `validate` finds\n",
        "Each finding has the id of a rule, `kind` in `ngcore validate --json`. "
        "[How volumes are checked](validate.md).\n",
    ]
    for name, rule in sorted(RULES.items()):
        parts.append(
            f"## {name}\n\n{rule.meaning}\n\n**Why it matters.** {rule.why}\n\n"
            f"**What to do.** {rule.fix}\n"
        )
    return "\n".join(parts)
