// An SVG chart, redrawn from numbers each time.

const MARGIN = { left: 46, right: 16, top: 12, bottom: 46 };

// Accuracies on a scale where halving the number of errors is always the same distance.
const LEAST_ERROR = 0.006;
const ACCURACIES = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99];
const stretch = (accuracy) => Math.log(Math.max(1 - accuracy, LEAST_ERROR)) / Math.log(LEAST_ERROR);

// Each optimizer has a shape and a colour.
const SHAPES = [
    (r) => `<circle r="${r}"/>`,
    (r) => `<rect x="${-0.9 * r}" y="${-0.9 * r}" width="${1.8 * r}" height="${1.8 * r}"/>`,
    (r) => `<path d="M0 ${-1.2 * r}L${1.15 * r} ${0.85 * r}H${-1.15 * r}Z"/>`,
    (r) => `<path d="M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z"/>`,
];

const mark = (i, x, y, r) =>
    `<g class="mark" fill="var(--c${i})" transform="translate(${x.toFixed(1)} ${y.toFixed(1)})">${SHAPES[i](r)}</g>`;

// A single mark of an optimizer, for legends.
export const symbol = (i) =>
    `<svg width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true">${mark(i, 0, 0, 6)}</svg>`;

// Draws into `svg`. `ticks` are [place, text] and `place`s are from 0 to 1; `lines` are { i, points, faint, marks } of
// points [place, accuracy].
export function draw(svg, { label, ticks, lines, here }) {
    const { width, height } = svg.getBoundingClientRect();
    const across = (place) => MARGIN.left + place * (width - MARGIN.left - MARGIN.right);
    const down = (accuracy) => MARGIN.top + (1 - stretch(accuracy)) * (height - MARGIN.top - MARGIN.bottom);
    const [left, right, top, bottom] = [across(0), across(1), MARGIN.top, height - MARGIN.bottom];
    const parts = [];
    for (const accuracy of ACCURACIES) {
        const y = down(accuracy);
        parts.push(`<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>`);
        parts.push(`<text x="${left - 6}" y="${y + 4}" text-anchor="end">${Math.round(100 * accuracy)} %</text>`);
    }
    for (const [place, text] of ticks) {
        const x = across(place);
        parts.push(`<line class="grid" x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 5}"/>`);
        parts.push(`<text x="${x}" y="${bottom + 19}" text-anchor="middle">${text}</text>`);
    }
    parts.push(`<text x="${(left + right) / 2}" y="${height - 8}" text-anchor="middle">${label}</text>`);
    if (here !== undefined) {
        parts.push(`<line class="here" x1="${across(here)}" x2="${across(here)}" y1="${top}" y2="${bottom}"/>`);
    }
    for (const { i, points, faint } of lines) {
        const path = points.map(([x, y]) => `${across(x).toFixed(1)},${down(y).toFixed(1)}`).join(" ");
        parts.push(`<polyline class="curve${faint ? " faint" : ""}" stroke="var(--c${i})" points="${path}"/>`);
    }
    for (const { i, marks } of lines) {
        parts.push(...marks.map(([x, y]) => mark(i, across(x), down(y), 5)));
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = parts.join("");
}
