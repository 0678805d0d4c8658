// The page of volumes: which are ticked, the link that opens them together, and copies of sources.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("volumes").textContent);
  const here = new URL(".", location.href).href.replace(/\/$/, "");
  const boxes = [...document.querySelectorAll(".volume input[type=checkbox]")];
  const open = document.getElementById("open");
  const status = document.getElementById("status");

  // Without a URL of their own, volumes lie where this page does.
  const placed = (source) =>
    source
      .replace(/^precomputed:\/\/\.(?=\/|$)/, () => `precomputed://${here}`)
      .replace(/^\.\//, () => `${here}/`);

  function placeSources(state) {
    for (const layer of state.layers) {
      if (typeof layer.source === "string") layer.source = placed(layer.source);
      else layer.source.url = placed(layer.source.url);
    }
    return state;
  }

  function address(names) {
    if (data.openPath) {
      return `${data.openPath}?${new URLSearchParams(names.map((name) => ["volume", name]))}`;
    }
    const state = placeSources(stateOf(names));
    return `${data.viewer}#!${encodeURIComponent(JSON.stringify(state))}`;
  }

  function stateOf(names) {
    if (names.length === 1) return structuredClone(data.states[names[0]]);
    const state = structuredClone(data.together);
    const shown = new Set(names.map((name) => data.layers[name]));
    state.layers = state.layers.filter((layer) => shown.has(layer.name));
    const lowest = state.layers.find((layer) => layer.type === "image");
    if (lowest && lowest.opacity === 0.5) lowest.opacity = 1;
    state.title = state.layers.map((layer) => layer.name).join(", ");
    if (state.toolPalettes) {
      for (const palette of Object.values(state.toolPalettes)) {
        palette.tools = palette.tools.filter((tool) =>
          tool.layer ? shown.has(tool.layer) : hasTime(state),
        );
      }
      if (Object.values(state.toolPalettes).every((palette) => palette.tools.length === 0)) {
        delete state.toolPalettes;
      }
    }
    if (!hasTime(state)) {
      delete state.dimensions.t;
      state.position.length = 3;
    }
    frame(state, names.map((name) => data.bounds[name]).filter((bounds) => bounds));
    for (const panel of panels(state.layout)) {
      panel.layers = panel.layers.filter((name) => shown.has(name));
    }
    return state;
  }

  function hasTime(state) {
    return state.layers.some((layer) => layer.source.transform?.outputDimensions.t);
  }

  function* panels(layout) {
    if (typeof layout !== "object") return;
    if (layout.type === "viewer") yield layout;
    for (const child of layout.children ?? []) yield* panels(child);
  }

  // Centre and zoom on what is ticked, as the whole was on all of it.
  function frame(state, bounds) {
    if (bounds.length === 0) return;
    const low = [0, 1, 2].map((i) => Math.min(...bounds.map(([start]) => start[i])));
    const high = [0, 1, 2].map((i) => Math.max(...bounds.map(([, stop]) => stop[i])));
    const units = ["x", "y", "z"].map((axis) => state.dimensions[axis][0]);
    const extent = high.map((end, i) => ((end - low[i]) * units[i]) / Math.min(...units));
    low.forEach((start, i) => (state.position[i] = (start + high[i]) / 2));
    const sections = [...panels(state.layout)].filter((panel) => panel.crossSectionScale);
    const orientations = sections.length
      ? sections.map((panel) => panel.crossSectionOrientation.value)
      : FIT.native;
    const {base, scales} = fitted.together(
      orientations.map((orientation) => fitted.scale(orientation, extent, FIT.panel)),
    );
    sections.forEach((panel, i) => (panel.crossSectionScale.value = scales[i]));
    state.crossSectionScale = base;
    state.projectionScale = fitted.projection(extent);
    state.ngcore = {...state.ngcore, extent};
  }

  function update() {
    const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
    const all = boxes.map((box) => box.value);
    const names = ticked.length ? ticked : all;
    if (names.length === 0) return;
    open.href = address(names);
    open.textContent = ticked.length ? `Open ticked together (${ticked.length})` : "Open all together";
  }

  for (const box of boxes) box.addEventListener("change", update);
  for (const link of document.querySelectorAll("a[data-volume]")) {
    link.href = address([link.dataset.volume]);
  }
  for (const code of document.querySelectorAll("code[data-source]")) {
    code.textContent = placed(code.dataset.source);
  }
  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copies).textContent;
      try {
        await navigator.clipboard.writeText(text);
        status.textContent = `Copied ${text}`;
      } catch {
        getSelection().selectAllChildren(document.getElementById(button.dataset.copies));
        status.textContent = "Selected: copy it with the keyboard";
      }
    });
  }
  window.addEventListener("pageshow", update); // a browser may restore ticks
  update();
})();
