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
  const frame = frames.findLast((one) => Number(one.name) <= round) ?? frames[0];
  Plotly.react(place, frame.data, layout, config);
}

for (const slider of document.querySelectorAll(".round input")) {
  slider.addEventListener("input", () => {
    slider.nextElementSibling.value = slider.value;
    slider.closest("section").querySelectorAll(".plot").forEach((place) => show(place, Number(slider.value)));
  });
}
