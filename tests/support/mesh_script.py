"""What the client drew of meshes: a script for its page."""

MESHES_SCRIPT = """
window.ngcoreMeshes = {
  // Vertices of every mesh that a layer drew, by name, in units of the state's dimensions.
  vertices(name) {
    const meshes = {};
    for (const drawn of viewer.layerManager.getLayerByName(name).layer.renderLayers) {
      const source = drawn.source?.fragmentSource ?? drawn.source;
      const transform = (drawn.displayState?.transform ?? drawn.transform)?.value;
      for (const [key, chunk] of source?.chunks ?? []) {
        const data = chunk.meshData ?? chunk.vertexData;
        if (data?.vertexPositions === undefined) continue;
        const place = transform.globalToRenderLayerDimensions;
        const {rank, modelToRenderLayerTransform: matrix} = transform;
        meshes[key] = [];
        for (let i = 0; i < data.vertexPositions.length; i += 3) {
          const point = [];
          for (let axis = 0; axis < 3; ++axis) {
            const row = place[axis];
            let sum = matrix[rank * (rank + 1) + row];
            for (let j = 0; j < 3; ++j) {
              sum += matrix[j * (rank + 1) + row] * data.vertexPositions[i + j];
            }
            point.push(sum);
          }
          meshes[key].push(point);
        }
      }
    }
    return meshes;
  },
  // The fragments of multi-resolution meshes that were loaded.
  fragments(name) {
    const {renderLayers} = viewer.layerManager.getLayerByName(name).layer;
    const sources = renderLayers.map(drawn => drawn.source?.fragmentSource?.chunks);
    return sources.flatMap(chunks => [...(chunks?.keys() ?? [])]).sort();
  },
  // The point of the surface under a pixel of the canvas, from the depth that was drawn.
  async pointUnder(x, y) {
    viewer.display.draw();
    await new Promise(resolve => setTimeout(resolve, 100));
    viewer.mouseState.updateUnconditionally();
    return viewer.mouseState.active ? Array.from(viewer.mouseState.position) : null;
  },
};
"""
