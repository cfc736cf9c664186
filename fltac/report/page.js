"use strict";
const config = { responsive: true, displayModeBar: false };
const STEP = 900;  // ms, a round while playing

// Panels side by side are one below another where the window is narrow: as high each.
const NARROW = 640;
function stacked(layout) {
  const panels = layout.annotations.map((title, number) => (number ? `xaxis${number + 1}` : "xaxis"));  // a title each
  const margin = (layout.margin?.t ?? 40) + (layout.margin?.b ?? 40);
  const height = margin + 300 * panels.length;
  const found = { ...layout, height, annotations: layout.annotations.map((title) => ({ ...title })) };
  panels.forEach((name, number) => {
    const top = 1 - number / panels.length;
    const bottom = top - 0.72 / panels.length;
    const y = name.replace("x", "y");
    found[name] = { ...layout[name], domain: [0, 1] };
    found[y] = { ...layout[y], domain: [bottom, top] };
    Object.assign(found.annotations[number], { x: 0.5, y: top });
  });
  return found;
}

const plots = new Map();  // element -> its figure
for (const place of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(place.nextElementSibling.textContent);
  if (figure.layout.meta?.stack && innerWidth < NARROW) {
    figure.layout = stacked(figure.layout);
    place.style.height = `${figure.layout.height}px`;
  }
  plots.set(place, figure);
  Plotly.newPlot(place, figure.data, figure.layout, config);
}

// A run that has fewer rounds than the slider stays at its last one.
function show(place, round, by) {
  const { data: all, frames, layout } = plots.get(place);
  if (!frames) return;  // one picture for all rounds
  const frame = frames.findLast((one) => one.name === round || Number(one.name) <= round) ?? frames[0];
  const data = [...frame.data, ...all.slice(frame.data.length)].map((trace) => {
    const colours = trace.meta?.colours;
    return colours ? { ...trace, marker: { ...trace.marker, color: colours[by] } } : trace;
  });
  Plotly.react(place, data, layout, config);
}

// In figures with an axis of rounds: a wash behind one of them.
function mark(place, round) {
  const { layout } = plots.get(place);
  if (!layout.meta?.rounds) return;
  const axes = Object.keys(layout).filter((name) => name.startsWith("xaxis"));
  const wash = { type: "rect", x0: round - 0.3, x1: round + 0.3, y0: 0, y1: 1, yref: "paper", layer: "below" };
  const washes = axes.map((name) => (
    { ...wash, xref: name.replace("axis", ""), fillcolor: "rgba(230,159,0,0.2)", line: { width: 0 } }
  ));
  Plotly.relayout(place, { shapes: [...(layout.shapes ?? []), ...washes] });
}

for (const controls of document.querySelectorAll(".controls")) {
  const section = controls.closest("section");
  const [slider, all, play] = ["[type=range]", "[type=checkbox]", "button"].map((one) => controls.querySelector(one));
  let timer = null;
  const step = () => {
    const round = !slider || all?.checked ? "all" : Number(slider.value);
    if (slider) slider.nextElementSibling.value = round;
    const by = controls.querySelector("[type=radio]:checked")?.value ?? "cluster";
    section.querySelectorAll(".plot").forEach((place) => show(place, round, by));
  };
  const go = (round) => {
    slider.value = round;
    if (all) all.checked = false;
    step();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  slider?.addEventListener("input", () => go(slider.value));
  controls.addEventListener("change", (event) => event.target !== slider && step());
  play?.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    go(slider.value === slider.max ? 1 : slider.value);
    timer = setInterval(() => (slider.value === slider.max ? stop() : go(Number(slider.value) + 1)), STEP);
  });
}

// A link to a round of a section shows it there.
function follow() {
  const target = document.getElementById(location.hash.slice(1));
  const round = target?.dataset.round;
  if (!round) return;
  const section = target.closest("section");
  const slider = section.querySelector(".controls [type=range]");
  if (slider) {
    slider.value = round;
    slider.dispatchEvent(new Event("input"));
  }
  section.querySelectorAll(".plot").forEach((place) => mark(place, Number(round)));
}
addEventListener("hashchange", follow);
addEventListener("click", (event) => event.target.closest?.("a[href^='#']")?.hash === location.hash && follow());
follow();

// What scrolls sideways can be scrolled with the keyboard.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
});
for (const box of document.querySelectorAll(".scroll")) {
  box.role = "group";
  const name = box.querySelector("caption")?.textContent ?? box.querySelector(".plot").ariaLabel;
  box.ariaLabel = name.split(/[.:;]/)[0];
  widths.observe(box);
}
