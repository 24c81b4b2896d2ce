/** On a page that was opened as a file browsers load no modules; this script, which they do load, says so. */
if (location.protocol === "file:") {
  for (const figure of document.querySelectorAll(".live:not([data-state])")) {
    figure.dataset.state = "asleep";
    const note = document.createElement("p");
    note.textContent = "This page was opened as a file, so its figures stay pictures. In the book's folder, “make read” serves it on this machine, and they run.";
    figure.append(note);
  }
}
