"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const cards = Array.from(document.querySelectorAll(".card"));
  const shown = document.getElementById("shown");
  const apply = () => {
    const domain = form.elements.domain ? form.elements.domain.value : "";
    const change = form.elements.change.value;
    const disagreeing = form.elements.disagreeing ? form.elements.disagreeing.checked : false;
    let count = 0;
    for (const card of cards) {
      const fits = (!domain || card.dataset.domain === domain)
        && (!change || card.dataset.changes.split(" ").includes(change))
        && (!disagreeing || card.dataset.agrees === "no");
      card.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = count + " of " + cards.length + " pairs";
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  // a link to a card that the filter hides shows all cards again
  window.addEventListener("hashchange", () => {
    const card = document.getElementById(location.hash.slice(1));
    if (card && card.hidden) { form.reset(); apply(); card.scrollIntoView(); }
  });
  form.hidden = false;
  apply();
})();
