/* <morph-map>: maps of one hidden layer, by t-SNE, from one condition to another; every point is a test digit. */
"use strict";

{
  const SECONDS = 7; // that the way from the first map to the last takes
  const SHAPES = ["M-1,0a1,1 0 1 0 2,0a1,1 0 1 0 -2,0", "M0,-1.2L1.15,0.9H-1.15Z"]; // class 0 and 1

  lowcap.define("morph-map", class extends lowcap.Explorable {
    fits(state) {
      const fit = super.fits(state);
      return { ...fit, point: fit.point in this.labels ? fit.point : 0 };
    }

    load({ pixels, labels, shade, ...maps }) {
      const { data, features } = this, map = this.part("map");
      this.labels = labels;
      this.images = Array.from(labels, (_, i) => Float32Array.from(pixels.subarray(i * features, (i + 1) * features), (v) => v / data.top));
      this.maps = data.conditions.map((_, i) => maps[`map ${i}`]);
      this.points = Array.from(labels, (label, i) =>
        lowcap.svg("path", { class: `x-point x-class${label}`, d: SHAPES[label], style: `--x-at: ${shade[i] / 255}` }));
      map.append(...this.points);
      this.arrows(map, (step) => this.walk(step));
      this.strokes(map, 100, (_, [x, y]) => this.change({ point: this.nearest(x + 0.5, y + 0.5)[0] }));
      this.part("play").hidden = this.calm.matches;
    }

    /** Where all points are, as [x, y, x, y, ...], and between which conditions. */
    now() {
      const { at, to } = this.state, path = this.data.paths[to], step = at * (path.length - 1);
      const i = Math.min(Math.floor(step + 1e-6), path.length - 2), share = step - i < 1e-6 ? 0 : step - i;
      const [from, next] = [this.maps[path[i]], this.maps[path[i + 1]]];
      const places = from.map((v, k) => v + share * (next[k] - v)), on = share === 0 ? path[i] : share === 1 ? path[i + 1] : null;
      const names = [path[i], path[i + 1]].map((c) => this.data.conditions[c]);
      return { places, on, words: on === null ? names.join(" → ") : this.data.conditions[on] };
    }

    /** The points in order of their distance from a place. */
    nearest(x, y, places = this.seen.places) {
      const far = Float32Array.from(this.labels, (_, i) => Math.hypot(places[2 * i] - x, places[2 * i + 1] - y));
      return [...far.keys()].sort((a, b) => far[a] - far[b]);
    }

    neighbours(point, places) {
      return this.nearest(places[2 * point], places[2 * point + 1], places).filter((i) => i !== point).slice(0, this.data.k);
    }

    /** Go to the nearest point on one side, within 45 degrees. */
    walk([right, down]) {
      const { places } = this.seen, { point } = this.state, x = places[2 * point], y = places[2 * point + 1];
      const ahead = (i) => {
        const dx = places[2 * i] - x, dy = places[2 * i + 1] - y, along = dx * right + dy * down;
        return along > 0 && along >= 0.7 * Math.hypot(dx, dy);
      };
      this.change({ point: this.nearest(x, y).find(ahead) ?? point });
    }

    next() {
      const steps = this.data.paths[this.state.to].length - 1, { at } = this.state;
      this.change({ at: at === 1 ? 0 : (Math.floor(at * steps + 1e-6) + 1) / steps });
    }

    play() {
      this.playing = !this.playing;
      let at = this.state.at === 1 ? 0 : this.state.at, before = performance.now();
      const step = (now) => {
        if (!this.playing || !this.isConnected) return;
        at = Math.min(1, at + (now - before) / 1000 / SECONDS);
        before = now;
        this.playing = at < 1;
        this.change({ at });
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
      this.change({});
    }

    says() {
      const { words, kept } = this.seen, { point } = this.state, { k, pair } = this.data;
      return `${words}. Point ${point + 1} of ${this.labels.length}, a ${pair[this.labels[point]]}: ${kept} of its ${k} nearest neighbours in the dense map are among the ${k} nearest here.`;
    }

    draw() {
      const { point } = this.state, { data } = this, { places, on, words } = this.now();
      const before = this.neighbours(point, this.maps[0]), near = this.neighbours(point, places);
      const kept = near.filter((i) => before.includes(i)).length;
      this.seen = { places, words, kept };
      this.points.forEach((node, i) => {
        node.setAttribute("transform", `translate(${places[2 * i]} ${places[2 * i + 1]}) scale(${i === point ? 1.6 : 1})`);
        node.classList.toggle("x-near", before.includes(i));
        node.classList.toggle("x-chosen", i === point);
      });
      this.part("map").append(this.points[point]); // on top
      this.show({
        "text at": words, play: this.playing ? "Pause" : "Play", kept: `${kept} of ${data.k}`,
        all: on === null ? "–" : data.kept[on].toFixed(2), what: `the chosen digit, a ${data.pair[this.labels[point]]}`,
      });
      this.form.elements.at.setAttribute("aria-valuetext", words);
      this.paint(this.part("digit"), this.images[point]);
      [...this.part("near").children].forEach((canvas, n) => {
        this.paint(canvas, this.images[near[n]]);
        canvas.classList.toggle("x-kept", before.includes(near[n]));
      });
    }

    save() {
      const { conditions, pair } = this.data;
      const rows = this.maps.flatMap((map, c) => Array.from(this.labels, (label, i) => [conditions[c], i, pair[label], map[2 * i], map[2 * i + 1]]));
      this.downloadTable("maps.csv", [["condition", "point", "digit", "x", "y"], ...rows]);
    }
  });
}
