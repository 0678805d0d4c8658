// How much of the world one pixel shows where all of it fits its panel: as `layouts.py` has it, whose
// numbers are `FIT`. The page of the client and the page of volumes have this before their scripts.
"use strict";
const fitted = (() => {
  // Unit vectors to the right and downwards on the screen, in the world, of a quaternion.
  function axesOf([x, y, z, w]) {
    return {
      right: [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)],
      down: [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)],
    };
  }

  function scale(orientation, extent, [width, height]) {
    const {right, down} = axesOf(orientation);
    const along = (axis) => extent.reduce((sum, e, i) => sum + e * Math.abs(axis[i]), 0);
    return FIT.margin * Math.max(along(right) / width, along(down) / height);
  }

  // One scale for all panels where each is filled well by it; else each has its own.
  function together(scales) {
    const base = Math.max(...scales);
    const isCommon = Math.min(...scales) >= FIT.leastFill * base;
    return {base, scales: isCommon ? scales.map(() => base) : scales};
  }

  function projection(extent) {
    return FIT.projection * Math.max(...extent);
  }

  return {axesOf, scale, together, projection};
})();
