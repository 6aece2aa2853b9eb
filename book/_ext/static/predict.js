// Exercises of the kind "Predict" take an answer before they show one. What a reader wrote stays beside the solution and,
// in this browser, for the next visit. Without this script an exercise has its folded solution and nothing else.

const keep = {
  get: id => { try { return localStorage.getItem(`mrilab-prediction-${id}`) ?? ""; } catch { return ""; } },
  set: (id, text) => {
    try {
      if (text.trim()) localStorage.setItem(`mrilab-prediction-${id}`, text);
      else localStorage.removeItem(`mrilab-prediction-${id}`);
    } catch { /* a browser that stores nothing: the text stays as long as the page */ }
  },
};

function ask(exercise, solution) {
  const form = document.createElement("form"), written = keep.get(exercise.id);
  form.className = "prediction";
  form.innerHTML = `<label>Your prediction <textarea rows="2" autocomplete="off"></textarea></label>
    <button>Show it anyway</button>`;
  const field = form.querySelector("textarea"), button = form.querySelector("button");
  field.value = written;
  button.hidden = written !== "";
  solution.classList.toggle("unseen", written === "");
  field.addEventListener("input", () => {
    keep.set(exercise.id, field.value);
    button.textContent = field.value.trim() ? "Show the solution" : "Show it anyway";
  });
  form.addEventListener("submit", event => {
    event.preventDefault();
    button.hidden = true;
    solution.classList.remove("unseen");
    solution.querySelector('.toggle-button[aria-expanded="false"]')?.click();
    solution.tabIndex = -1;             // the button that had the focus is gone
    solution.focus({ preventScroll: true });
  });
  solution.before(form);
}

for (const exercise of document.querySelectorAll(".exercise[id]")) {
  const solution = [...document.querySelectorAll(".solution")]
    .find(one => one.querySelector(".admonition-title a")?.hash === `#${exercise.id}`);
  if (solution && exercise.querySelector("em")?.textContent.startsWith("Predict")) ask(exercise, solution);
}
