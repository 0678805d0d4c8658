"""Every command: its name, the module that defines it, and its line in `ngcore --help`.

Help is printed from here, so that it waits for none of the modules.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """A command's module in `ngcore.cli`, and what it does in a few words."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Convert": {
        "convert": Entry("convert", "A volume, an array or slices, to every scale, in one go."),
        "export": Entry("export", "A volume back to NIfTI."),
        "pack": Entry("pack", "A volume as one zip file."),
    },
    "Look": {
        "view": Entry("view", "Volumes in Neuroglancer, with everything set."),
        "serve": Entry("serve", "Volumes over HTTP, as Neuroglancer wants them."),
        "link": Entry("link", "The Neuroglancer URL of published volumes."),
        "gallery": Entry("gallery", "Write a web page of volumes, to pick and open together."),
        "server-config": Entry("server_config", "Configuration for nginx, Apache or Caddy."),
        "preview": Entry("preview", "A picture of the three middle slices."),
    },
    "Check": {
        "info": Entry("info", "Show what volumes and layers hold."),
        "validate": Entry("validate", "Check a volume, or a layer, and what has changed."),
        "repair": Entry("repair", "Fix a volume that Neuroglancer can't load."),
    },
    "Labels and meshes": {
        "labels": Entry("labels", "Names and colours for a segmentation's labels."),
        "mesh": Entry("mesh", "Meshes of a segmentation's labels, in levels of detail."),
        "mesh-to-precomputed": Entry("meshes", "A surface, as a mesh of a volume."),
        "stl-to-precomputed": Entry("meshes", "An STL file, as a mesh of a volume."),
        "mesh-to-vtk": Entry("meshes", "A surface, as a VTK file for Neuroglancer."),
        "link-mesh-fragments": Entry("meshes", "Which meshes belong to which label."),
    },
    "Points, lines, skeletons": {
        "annotations": Entry("annotations", "Convert a table of points, lines, boxes, ..."),
        "tracts": Entry("tracts", "Convert streamlines (.trk, .tck, .trx) to bundles and lines."),
        "skeletons": Entry("skeletons", "Convert traced neurons (SWC)."),
    },
    "Step by step": {
        "volume-to-raw-chunks": Entry("steps", "Full resolution of a volume."),
        "slices-to-raw-chunks": Entry("steps", "Full resolution of folders of slices."),
        "generate-scales-info": Entry("steps", "The info of every scale, from the finest one."),
        "scale-stats": Entry("steps", "Chunks, files and bytes of every scale."),
        "compute-scales": Entry("steps", "Every coarser scale, from the finest one."),
        "convert-chunks-to-jpeg": Entry("chunks", "Chunks of another volume, as JPEG."),
        "compress-segmentation-chunks": Entry("chunks", "Chunks of another volume, compressed."),
    },
}

# Names of neuroglancer-scripts 1.2, which work and are not in the help.
HIDDEN: dict[str, Entry] = {
    "volume-to-precomputed": Entry("steps", ""),
    "slices-to-precomputed": Entry("steps", ""),
    "convert-chunks": Entry("chunks", ""),
    "volume-to-precomputed-pyramid": Entry("pyramid", ""),
}

COMMANDS: dict[str, Entry] = {
    name: entry for section in (*SECTIONS.values(), HIDDEN) for name, entry in section.items()
}
