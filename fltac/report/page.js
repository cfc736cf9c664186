"use strict";
const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };

const plots = new Map();  // element -> its figure
for (const place of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(place.nextElementSibling.textContent);
  plots.set(place, figure);
  Plotly.newPlot(place, figure.data, figure.layout, config);
}

// A run that has fewer rounds than the slider stays at its last one.
function show(place, round) {
  const { frames, layout } = plots.get(place);
  if (!frames) return;  // one picture for all rounds
  const frame = frames.findLast((one) => one.name === round || Number(one.name) <= round) ?? frames[0];
  Plotly.react(place, frame.data, layout, config);
}

for (const slider of document.querySelectorAll(".round input[type=range]")) {
  const section = slider.closest("section");
  const all = section.querySelector(".round input[type=checkbox]");
  const step = () => {
    const round = all?.checked ? "all" : Number(slider.value);
    slider.nextElementSibling.value = round;
    section.querySelectorAll(".plot").forEach((place) => show(place, round));
  };
  slider.addEventListener("input", () => {
    if (all) all.checked = false;
    step();
  });
  all?.addEventListener("change", step);
}
