"""A cube, and other surfaces, in files of every kind that is read."""

import struct

import nibabel as nib
import numpy as np
import trimesh
from nibabel.freesurfer import write_geometry
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage

from ngcore.sources.surfaces.reading import read_mesh

CUBE = trimesh.creation.box(extents=(2, 3, 4))
VERTICES = np.asarray(CUBE.vertices, dtype=np.float32)
TRIANGLES = np.asarray(CUBE.faces, dtype=np.int32)
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.4) @ np.diag([1.0, 1.1, 0.9]), [10, -20, 30]
)


def gifti(vertices=VERTICES, triangles=TRIANGLES, *, affine=None, space=2, meta=None, **options):
    system = GiftiCoordSystem(space, 1, np.eye(4) if affine is None else affine)
    arrays = [
        GiftiDataArray(
            vertices, "NIFTI_INTENT_POINTSET", coordsys=system, meta=meta or {}, **options
        ),
        GiftiDataArray(triangles, "NIFTI_INTENT_TRIANGLE", **options),
    ]
    return GiftiImage(darrays=arrays).to_bytes()


def read(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return read_mesh(path)


def solid(mesh):
    """Return a mesh as a set of triangles of places, each turned to start at its least corner."""
    corners = np.round(mesh.vertices_nm[mesh.triangles], 3).tolist()
    turned = []
    for triangle in corners:
        first = triangle.index(min(triangle))
        turned.append(tuple(map(tuple, triangle[first:] + triangle[:first])))
    return sorted(turned)


def as_cube(mesh, affine_mm=None):
    places = nib.affines.apply_affine(np.eye(4) if affine_mm is None else affine_mm, VERTICES)
    np.testing.assert_allclose(mesh.vertices_nm, places * 1e6, rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


VOLUME = {
    "volume": [200, 220, 180],
    "voxelsize": [0.8, 0.9, 1.1],
    "xras": [-0.98, 0.1, 0.17],
    "yras": [0.17, 0.0, -0.985],
    "zras": [0.1, 0.99, 0.02],
    "cras": [5.0, -17.5, 21.0],
}


def tkras_to_scanner(volume=VOLUME):
    """The two voxel-to-RAS matrices of FreeSurfer's wiki, one after the other."""
    size, shape = np.array(volume["voxelsize"]), np.array(volume["volume"])
    directions = np.array([volume["xras"], volume["yras"], volume["zras"]]).T
    norig = nib.affines.from_matvec(directions * size)
    norig[:3, 3] = volume["cras"] - norig[:3, :3] @ (shape / 2)
    (dx, dy, dz), (nx, ny, nz) = size, shape
    torig = np.array(
        [
            [-dx, 0, 0, dx * nx / 2],
            [0, 0, dz, -dz * nz / 2],
            [0, -dy, 0, dy * ny / 2],
            [0, 0, 0, 1],
        ]
    )
    return norig @ np.linalg.inv(torig)


def volgeom(volume=VOLUME):
    names = {
        "volume": ("Width", "Height", "Depth"),
        "voxelsize": ("Xsize", "Ysize", "Zsize"),
        **{f"{a.lower()}ras": (f"{a}_R", f"{a}_A", f"{a}_S") for a in "XYZC"},
    }
    return {
        f"VolGeom{key}": str(value)
        for field, keys in names.items()
        for key, value in zip(keys, volume[field], strict=True)
    }


def freesurfer(tmp_path, volume=None, *, valid="1  # volume info valid"):
    info = None
    if volume is not None:
        info = {"head": [2, 0, 20], "valid": valid, "filename": "../mri/é.mgz", **volume}
        info = {k: np.array(v) if isinstance(v, list) else v for k, v in info.items()}
    path = tmp_path / "lh.pial"
    write_geometry(path, VERTICES, TRIANGLES, create_stamp="created by x on y", volume_info=info)
    return path.read_bytes()


def text_stl(triangles=VERTICES[TRIANGLES], name="cube"):
    lines = [f"solid {name}"]
    for triangle in triangles:
        lines += ["facet normal 0 0 0", " outer loop"]
        lines += [f"  vertex {x:.9g} {y:.9g} {z:.9g}" for x, y, z in triangle]
        lines += [" endloop", "endfacet"]
    return "\n".join([*lines, f"endsolid {name}", ""]).encode()


def binary_stl(triangles=VERTICES[TRIANGLES], header=b"solid but binary"):
    record = np.zeros(len(triangles), [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    record["v"] = triangles
    return header.ljust(80) + struct.pack("<I", len(record)) + record.tobytes()


def exported(kind, **options):
    data = CUBE.export(file_type=kind, **options)
    return data if isinstance(data, bytes) else data.encode()


PLY = exported("ply")
TEXT_PLY = exported("ply", encoding="ascii")
OBJ = exported("obj", digits=9)
OFF = exported("off", digits=9)
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n.5 .5 1\n"
TEXT_PLY_OF_POLYGONS = f"""ply
format ascii 1.0
comment made by hand
element vertex 5
property float x
property float y
property float z
element face 3
property list uchar int vertex_indices
end_header
{SQUARE}4 0 1 2 3
3 0 1 4
5 0 1 2 3 4
"""
OFF_OF_POLYGONS = f"OFF 5 3 0 # counts\n\n{SQUARE}4 0 1 2 3 255 0 0\n3 0 1 4\n5 0 1 2 3 4\n"
OBJ_OF_POLYGONS = (
    "mtllib none.mtl\no a\n"
    + "".join(f"v {line}\n" for line in SQUARE.splitlines())
    + "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1 4/1/1\no b\nf -5//1 2//1 \\\n 5//1\nf 1 2 3 4 5\n"
)
FANS = sorted([(0, 1, 2), (0, 2, 3), (0, 1, 4), (0, 1, 2), (0, 2, 3), (0, 3, 4)])
