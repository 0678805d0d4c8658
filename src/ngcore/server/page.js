// Beside Neuroglancer's own client, in its page: restores the state, fits it to the real panels,
// and says in each cross section which side is which.
//
// The client reads a state from the hash while it is still starting, and on a slow machine loses
// layers by it. So the hash is kept from it, and restored when the client is there. Until then
// `window.viewer` is undefined.
"use strict";
(() => {
  const SIDES = [["L", "R"], ["P", "A"], ["I", "S"]];
  let given = location.hash;
  let viewer;
  let isReady = false;
  let hasWorld = false;
  let written = "";

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
    restore(state);
    hasWorld = state.ngcore ? Boolean(state.ngcore.world) : hasSides(state);
    if (state.ngcore && state.ngcore.extent) await fit(state.ngcore.extent);
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
      const sizes = slicePanels().map(({element: e}) => [e.clientWidth, e.clientHeight]);
      const now = JSON.stringify(sizes);
      if (sizes.every(isVisible) && sizes.length > 0 && now === before) break;
      before = now;
    }
    fitNow(extent);
    refitWhileUntouched(extent);
  }

  function isVisible([width, height]) {
    return width > 0 && height > 0;
  }

  function fitNow(extent) {
    const panels = slicePanels();
    if (panels.length === 0) return;
    const {base, scales} = fitted.together(
      panels.map((panel) => {
        const {clientWidth, clientHeight} = panel.element;
        return fitted.scale(orientationOf(panel), extent, [clientWidth, clientHeight]);
      }),
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
      const sizes = panels.map(({element: e}) => [e.clientWidth, e.clientHeight]);
      if (!sizes.every(isVisible)) return;
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
    const {clientWidth, clientHeight} = panel.element;
    const narrow = Math.max(1, clientHeight / Math.max(1, clientWidth));
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
      marks.get(panel).forEach((mark, i) => {
        const text = hasWorld ? texts[i] : "";
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
    ];
    return places.map((place) => {
      const mark = document.createElement("div");
      mark.className = "ngcore-side";
      mark.style.cssText =
        `position:absolute;${place};pointer-events:none;color:#fff;font:bold 15px sans-serif;` +
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
