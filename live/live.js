/**
 * Brings the live figures of a page to life. A figure is an element `.live[data-figure=NAME]` that holds its stored picture; when it
 * comes near the screen, `figures/NAME.js` is fetched and draws the same story so that it can be touched. If anything fails, the picture stays.
 */

/** @param {HTMLElement} figure */
async function wake(figure) {
  if (figure.dataset.state) return;
  figure.dataset.state = "waking";
  try {
    const { mount } = await import(`./figures/${figure.dataset.figure}.js`);
    const app = document.createElement("div");
    app.className = "live-app";
    await mount(app);
    figure.prepend(app);
    figure.dataset.state = "awake";
  } catch (problem) {
    figure.dataset.state = "asleep";
    console.warn(`the live figure ${figure.dataset.figure} stays a picture:`, problem);
  }
}

const watcher = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => (watcher.unobserve(entry.target), wake(entry.target))),
  { rootMargin: "600px" },
);
for (const figure of document.querySelectorAll(".live[data-figure]")) watcher.observe(figure);
