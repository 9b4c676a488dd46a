// <rl-chart>: what happened in equal parts of time, as stacked bars or as lines. Its size never changes, whatever comes.

import { h, put, s } from "../core/dom.js";
import { moment } from "../core/format.js";

const HIGH = 100;

/** A round number that is not below any value. */
export function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most);
}

class Chart extends HTMLElement {
  #told = "";

  connectedCallback() {
    if (this.drawing) return;
    this.most = h("span.most");
    this.drawing = s("svg", { preserveAspectRatio: "none", role: "img" });
    this.begin = h("span");
    this.end = h("span");
    this.said = h("p.said");
    put(this, h("div.frame", this.most, this.drawing), h("div.axis", { "aria-hidden": "true" }, this.begin, this.end), this.said);
    this.#draw();
  }

  /** {title, lines: true for lines, series: [{name, tone}], parts: [{at, values}], show(value) → text} */
  set data(data) {
    const told = JSON.stringify([data.parts, data.title]);
    if (told === this.#told) return;
    this.#told = told;
    this.given = data;
    this.#draw();
  }

  #draw() {
    if (!this.drawing || !this.given) return;
    const { title, series, parts, show, lines } = this.given;
    const most = ceiling(Math.max(...parts.map(({ values }) => (lines ? Math.max(0, ...values) : values.reduce((sum, one) => sum + one, 0)))));
    put(this.most, show(most));
    const latest = parts.at(-1);
    const words = series.map(({ name }, index) => `${name} ${latest ? show(latest.values[index]) : "–"}`);
    this.drawing.setAttribute("viewBox", `0 0 ${Math.max(1, parts.length)} ${HIGH}`);
    this.drawing.setAttribute("aria-label", `${title}, now: ${words.join(", ")}; up to ${show(most)}`);
    put(this.drawing, lines ? this.#lines(most) : this.#bars(most), parts.map((part, index) => s("rect.part", { x: index, y: 0, width: 1, height: HIGH },
      s("title", [when(part.at), ...series.map(({ name }, place) => `${name}: ${show(part.values[place])}`)].join("\n")))));
    put(this.begin, parts[0] ? when(parts[0].at) : "");
    put(this.end, "now");
    put(this.said, series.map(({ name, tone }) => h("span", h("span.key", { class: tone, "aria-hidden": "true" }), name)));
  }

  #bars(most) {
    const { parts, series } = this.given;
    return parts.flatMap(({ values }, index) => {
      let top = HIGH;
      return values.map((value, place) => {
        const height = (value / most) * HIGH;
        top -= height;
        return value ? s("rect", { class: series[place].tone, x: index + 0.1, y: top, width: 0.8, height }) : null;
      });
    });
  }

  /** Where nothing is known, a line has a gap; a value that stands alone is a dot of its width. */
  #lines(most) {
    const { parts, series } = this.given;
    return series.map(({ tone }, place) => {
      const points = parts.map(({ values }, index) => ((values[place] ?? null) === null ? null
        : [index + 0.2, index + 0.8, (HIGH - (values[place] / most) * HIGH).toFixed(2)]));
      const path = points.map((point, index) => point && `${points[index - 1] ? "L" : "M"}${point[0]} ${point[2]}L${point[1]} ${point[2]}`);
      return s("path", { class: tone, d: path.filter(Boolean).join(""), "vector-effect": "non-scaling-stroke" });
    });
  }
}

customElements.define("rl-chart", Chart);

export const chart = () => h("rl-chart");

function when(at) {
  const [day, hour] = moment(at).split(", ");
  return day === moment(new Date()).split(", ")[0] ? hour : `${day}, ${hour}`;
}
