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
        "convert": Entry("convert", "Convert a volume, an array or slices, with every scale."),
        "export": Entry("export", "Write a volume or layer for other programs, such as NIfTI."),
        "pack": Entry("pack", "Pack a volume into one zip file."),
    },
    "Look": {
        "view": Entry("view", "Show volumes and other files in Neuroglancer."),
        "serve": Entry("serve", "Serve volumes over HTTP, as Neuroglancer needs them."),
        "link": Entry("link", "Print the Neuroglancer URL of published volumes."),
        "gallery": Entry("gallery", "Write a web page of volumes to pick from and open together."),
        "server-config": Entry("server_config", "Print configuration for nginx, Apache or Caddy."),
        "preview": Entry("preview", "Draw a picture of the three middle slices."),
    },
    "Check": {
        "info": Entry("info", "Show what volumes and layers hold."),
        "validate": Entry("validate", "Check that a volume or layer is valid and unchanged."),
        "repair": Entry("repair", "Fix a volume that Neuroglancer can't load."),
    },
    "Labels and meshes": {
        "labels": Entry("labels", "Name and colour a segmentation's labels."),
        "mesh": Entry("mesh", "Make meshes of a segmentation's labels."),
        "mesh-to-precomputed": Entry("meshes", "Write a surface as a mesh of a volume."),
        "stl-to-precomputed": Entry("meshes", "Write an STL file as a mesh of a volume."),
        "mesh-to-vtk": Entry("meshes", "Write a surface as VTK for Neuroglancer."),
        "link-mesh-fragments": Entry("meshes", "Link labels to meshes."),
    },
    "Points, lines, skeletons": {
        "annotations": Entry("annotations", "Convert a table of points, lines, boxes, ..."),
        "tracts": Entry("tracts", "Convert streamlines (.trk, .tck, .trx) to bundles and lines."),
        "skeletons": Entry("skeletons", "Convert traced neurons (SWC), or trace labels."),
    },
    "Step by step": {
        "volume-to-raw-chunks": Entry("steps", "Write the full resolution of a volume."),
        "slices-to-raw-chunks": Entry("steps", "Write the full resolution of slices."),
        "generate-scales-info": Entry("steps", "Write the info of every scale."),
        "scale-stats": Entry("steps", "Count chunks, files and bytes."),
        "compute-scales": Entry("steps", "Write every coarser scale."),
        "convert-chunks-to-jpeg": Entry("chunks", "Convert chunks of a volume to JPEG."),
        "compress-segmentation-chunks": Entry("chunks", "Compress chunks of a segmentation."),
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
