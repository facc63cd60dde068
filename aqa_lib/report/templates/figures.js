// The only script of a page: it draws each figure from its JSON, and loads plotly.js where there is one to draw.
const places = document.querySelectorAll("[data-figure]");

function draw(place) {
  const source = document.getElementById(place.dataset.figure);
  if (!source) return;
  const {data, layout} = JSON.parse(source.textContent);
  layout.height ||= 430;
  return Plotly.newPlot(place, data, layout, {responsive: true, displaylogo: false});
}

async function drawAll() {
  for (const place of places) {  // a figure that cannot be drawn leaves the others alone
    try {
      await draw(place);
    } catch (error) {
      place.textContent = `This figure cannot be drawn (${error.message}).`;
    }
  }
}

if (places.length) {
  const plotly = document.createElement("script");
  plotly.src = document.body.dataset.plotly;
  plotly.onload = drawAll;
  document.body.append(plotly);
}
