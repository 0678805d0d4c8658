// Beside Neuroglancer's own client, in its page: restores the state, fits it to the real panels,
// and says in each cross section which side is which.
//
// The client reads a state from the hash while it is still starting, and on a slow machine loses
// layers by it. So the hash is kept from it, and restored when the client is there. Until then
// `window.viewer` is undefined.
"use strict";
(() => {
  const SOLID_NOTE = 4;
  const SIDES = [["L", "R"], ["P", "A"], ["I", "S"]];
  let given = location.hash;
  let viewer;
  let isReady = false;
  let hasWorld = false;
  let written = "";
  let solidOnly = [];

  if (given.startsWith("#!")) history.replaceState(null, "", location.pathname + location.search);
  Object.defineProperty(window, "viewer", {
    configurable: true,
    get: () => (isReady ? viewer : undefined),
    set(made) {
      viewer = made;
      setTimeout(begin, 0);
    },
  });
  window.addEventListener("hashchange", () => {
    if (isReady && location.hash !== written) show(location.hash);
  });

  async function begin() {
    try {
      await show(given);
    } finally {
      isReady = true;
      viewer.state.changed.add(debounced(writeHash, 400));
      viewer.display.updateFinished.add(markSides);
      markSides();
    }
  }

  async function show(hash) {
    if (!hash.startsWith("#!")) return;
    const text = hash.slice(2);
    let state;
    if (/^[a-z][a-z\d+.-]*:\/\//.test(text)) {
      state = await (await fetch(text)).json();
    } else {
      state = JSON.parse(decodeURIComponent(text));
    }
    // What this page wrote before is light already.
    solidOnly = state.ngcore && isSoftware() ? lighten(state) : [];
    restore(state);
    hasWorld = state.ngcore ? Boolean(state.ngcore.world) : hasSides(state);
    if (state.ngcore && state.ngcore.extent) await fit(state.ngcore.extent);
  }

  // Whether lines are drawn by the processor, which takes some 10 us for each piece of a line.
  function isSoftware() {
    const {gl} = viewer.display;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    const renderer = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
  }

  // Draws less: a ninth of the polylines, and heavy skeletons in 3-D alone, not in each section.
  // Returns the names of those.
  function lighten(state) {
    for (const layer of state.layers ?? []) {
      for (const name of ["projectionAnnotationSpacing", "crossSectionAnnotationSpacing"]) {
        if (name in layer) layer[name] *= 3;
      }
    }
    const {heavy = []} = state.ngcore;
    const left = new Set();
    for (const panel of panelsOf(state.layout)) {
      if (panel.layout !== "xy") continue;
      for (const name of panel.layers.filter((name) => heavy.includes(name))) left.add(name);
      panel.layers = panel.layers.filter((name) => !heavy.includes(name));
    }
    return [...left];
  }

  function panelsOf(layout) {
    if (layout?.type === "viewer") return [layout];
    return (layout?.children ?? []).flatMap(panelsOf);
  }

  // Whoever listens would look at layers that are half made.
  function restore(state) {
    const handlers = viewer.state.changed.handlers;
    const listeners = [...handlers];
    handlers.clear();
    try {
      viewer.state.reset();
      viewer.state.restoreState(state);
    } finally {
      for (const listener of listeners) handlers.add(listener);
    }
    viewer.state.changed.dispatch();
  }

  // A state that this page wrote before: the panels of the anatomical layout stand in it.
  function hasSides(state) {
    return JSON.stringify(state.layout ?? "").includes("crossSectionOrientation");
  }

  function slicePanels() {
    return [...viewer.display.panels].filter((panel) => panel.sliceView !== undefined);
  }

  async function fit(extent) {
    let before = "";
    for (let tries = 0; tries < 150; ++tries) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const sizes = slicePanels().map(sizeOf);
      const now = JSON.stringify(sizes);
      if (sizes.every(isVisible) && sizes.length > 0 && now === before) break;
      before = now;
    }
    fitNow(extent);
    refitWhileUntouched(extent);
  }

  // Inside of its border, to a part of a pixel: what `clientHeight` makes of a half differs from
  // visit to visit.
  function sizeOf({element}) {
    const {width, height} = element.getBoundingClientRect();
    return [width - 2 * element.clientLeft, height - 2 * element.clientTop];
  }

  function isVisible([width, height]) {
    return width > 0 && height > 0;
  }

  function fitNow(extent) {
    const panels = slicePanels();
    if (panels.length === 0) return;
    const {base, scales} = fitted.together(
      panels.map((panel) => fitted.scale(orientationOf(panel), extent, sizeOf(panel))),
    );
    viewer.navigationState.zoomFactor.value = base;
    for (const group of groups(viewer.layout.container)) {
      const index = panels.findIndex((panel) => group.element.contains(panel.element));
      const scale = group.viewerNavigationState.crossSectionScale;
      if (index < 0 || scale.toJSON() === undefined) continue;
      scale.restoreState({link: "relative", value: scales[index]});
    }
    fitProjection(extent);
  }

  // The client goes on laying out its page after the panels are there: its bar grows by some pixels
  // when it shows the position, earlier or later by the speed of the processor. So panels are
  // fitted again when their size changes, until somebody touches the page or another state is shown.
  let stopRefitting = () => {};

  function refitWhileUntouched(extent) {
    stopRefitting();
    const panels = slicePanels();
    let last = zooms();
    const observer = new ResizeObserver(() => {
      const isSame = panels.every((panel) => viewer.display.panels.has(panel));
      if (!isSame || zooms() !== last) return stopRefitting();
      if (!panels.map(sizeOf).every(isVisible)) return;
      fitNow(extent);
      last = zooms();
    });
    const touches = ["pointerdown", "wheel", "keydown"];
    stopRefitting = () => {
      observer.disconnect();
      for (const touch of touches) window.removeEventListener(touch, stopRefitting, true);
    };
    for (const touch of touches) window.addEventListener(touch, stopRefitting, true);
    for (const {element} of panels) observer.observe(element);
  }

  function zooms() {
    const own = [...groups(viewer.layout.container)].map(
      (group) => group.viewerNavigationState.crossSectionScale.toJSON(),
    );
    return JSON.stringify([
      viewer.navigationState.zoomFactor.value,
      viewer.perspectiveNavigationState.zoomFactor.value,
      own,
    ]);
  }

  function* groups(component) {
    if (!component) return;
    if (component.viewerNavigationState) yield component;
    yield* groups(component.component);
    for (let i = 0; component.get && i < component.length; ++i) yield* groups(component.get(i));
  }

  function fitProjection(extent) {
    const panel = [...viewer.display.panels].find(
      (p) => p.sliceView === undefined && p.navigationState !== undefined && p.sliceViews,
    );
    if (panel === undefined) return;
    const [width, height] = sizeOf(panel);
    const narrow = Math.max(1, height / Math.max(1, width));
    viewer.perspectiveNavigationState.zoomFactor.value = fitted.projection(extent) * narrow;
  }

  function orientationOf(panel) {
    return panel.sliceView.navigationState.pose.orientation.orientation;
  }

  function side(axis, sign) {
    return axis
      .map((value, i) => [Math.abs(value), SIDES[i][value * sign > 0 ? 1 : 0]])
      .filter(([size]) => size > 0.38)
      .sort((a, b) => b[0] - a[0])
      .map(([, letter]) => letter)
      .join("");
  }

  const marks = new WeakMap();

  function markSides() {
    for (const panel of slicePanels()) {
      if (!marks.has(panel)) marks.set(panel, makeMarks(panel.element));
      const {right, down} = fitted.axesOf(orientationOf(panel));
      const texts = [side(right, -1), side(right, 1), side(down, -1), side(down, 1)];
      texts.push(solidOnly.length ? `${solidOnly.join(", ")}: in 3-D only (no graphics card)` : "");
      marks.get(panel).forEach((mark, i) => {
        const text = hasWorld || i === SOLID_NOTE ? texts[i] : "";
        if (mark.textContent !== text) mark.textContent = text;
      });
    }
  }

  function makeMarks(element) {
    const places = [
      "left:4px;top:50%;transform:translateY(-50%)",
      "right:4px;top:50%;transform:translateY(-50%)",
      "top:2px;left:50%;transform:translateX(-50%)",
      "bottom:2px;left:50%;transform:translateX(-50%)",
      "bottom:4px;right:6px;font-size:11px;font-weight:normal",
    ];
    return places.map((place, i) => {
      const mark = document.createElement("div");
      mark.className = i === SOLID_NOTE ? "ngcore-note" : "ngcore-side";
      mark.style.cssText =
        `position:absolute;pointer-events:none;color:#fff;font:bold 15px sans-serif;${place};` +
        "text-shadow:0 0 3px #000,0 0 3px #000,0 0 3px #000;z-index:1";
      element.appendChild(mark);
      return mark;
    });
  }

  function writeHash() {
    let text;
    try {
      text = JSON.stringify(viewer.state.toJSON());
    } catch {
      return; // a layer that is half made
    }
    written = "#!" + encodeURIComponent(text);
    history.replaceState(null, "", written);
    written = location.hash;
  }

  function debounced(run, milliseconds) {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(run, milliseconds);
    };
  }
})();
