// A map-like sketch of a place: coasts drawn by hand and roughly, a net of degrees, a pin.

import { svg } from "./dom.js";

// Longitude, latitude. Rough on purpose: it says "about there", nothing more.
const COASTS = [
  // North America
  "-168,66 -156,71 -128,70 -110,68 -95,72 -82,68 -94,60 -82,55 -78,62 -65,59 -56,52 -66,45 -70,42 -74,40 -76,35 -81,31 -80,25 -84,30 -94,29 -97,26 -97,20 -91,18 -87,21 -88,16 -83,15 -82,9 -77,8 -80,7 -86,12 -95,16 -105,20 -110,24 -117,33 -124,40 -124,48 -134,57 -150,60 -165,54 -158,59 -165,62",
  // South America
  "-77,8 -72,12 -62,10 -50,0 -35,-6 -39,-15 -41,-22 -48,-27 -57,-36 -65,-42 -68,-52 -74,-52 -73,-40 -71,-30 -70,-18 -76,-14 -81,-5 -80,1",
  // Greenland, Iceland, Cuba, Hispaniola
  "-73,78 -60,82 -30,83 -20,75 -25,70 -40,65 -44,60 -52,66 -55,72", "-24,65 -16,66 -14,65 -19,63",
  "-85,22 -80,23 -74,20 -78,20", "-74,20 -69,19 -71,18",
  // Europe and Asia
  "-9,43 -2,44 -1,48 2,51 8,54 8,57 12,56 20,55 30,60 22,60 24,66 17,61 12,56 5,59 12,66 25,71 41,67 45,68 68,69 80,73 104,78 140,73 170,69 180,66 163,60 160,53 156,57 143,59 135,54 140,48 130,42 127,36 125,40 118,38 122,31 110,21 106,18 109,12 104,10 100,14 103,2 98,8 97,16 90,22 80,15 77,8 72,20 66,25 57,26 50,30 52,24 59,22 52,17 43,13 35,28 36,36 27,37 23,36 19,42 13,45 18,40 16,38 10,44 3,42 -2,37 -9,37",
  // Great Britain, Ireland, Japan
  "-5,50 1,51 0,53 -2,56 -4,58 -6,56 -3,54 -5,52", "-10,52 -6,52 -6,55 -9,54", "130,32 136,34 141,36 141,42 145,44 141,45 139,39 133,35",
  // Africa, Madagascar
  "-6,36 10,37 20,31 33,31 38,20 43,12 51,12 40,-4 40,-15 33,-26 26,-34 18,-34 12,-18 13,-8 9,4 -8,5 -17,15 -16,24 -10,31", "44,-25 50,-16 49,-12 44,-17",
  // Australia, New Guinea, New Zealand, Indonesia
  "114,-22 122,-18 131,-12 136,-15 142,-11 146,-19 153,-27 150,-37 140,-38 131,-32 116,-35", "131,-1 141,-3 150,-10 138,-8",
  "167,-46 174,-42 178,-38 174,-36 173,-41", "95,5 104,-3 106,-6 100,0", "109,1 117,7 117,-3 110,-3",
];
const SPAN = [64, 32]; // degrees that are seen, across and up

const degrees = (value, positive, negative) => `${Math.abs(value).toFixed(3)}° ${value < 0 ? negative : positive}`;
export const position = ({ latitude, longitude }) =>
  `${degrees(latitude, "N", "S")}, ${degrees(longitude, "E", "W")}`;

export function sketch({ latitude, longitude }) {
  const [width, height] = SPAN;
  const left = longitude - width / 2;
  const top = Math.max(-90 + height, Math.min(90, latitude + height / 2));
  const picture = svg("svg", { class: "map", role: "img", viewBox: `0 0 ${width} ${height}`,
    "aria-label": `A sketch of the map around ${position({ latitude, longitude })}` });
  // The world three times, so that the date line is no edge.
  for (const round of [-360, 0, 360]) {
    if (left + width < round - 180 || left > round + 180) continue;
    for (const coast of COASTS) {
      const points = coast.split(" ").map((pair) => pair.split(",").map(Number));
      const d = points.map(([x, y]) => `${(x + round - left).toFixed(1)},${(top - y).toFixed(1)}`).join("L");
      picture.append(svg("path", { class: "land", d: `M${d}Z` }));
    }
  }
  for (let x = Math.ceil(left / 10) * 10; x < left + width; x += 10) {
    picture.append(svg("path", { class: "net", d: `M${x - left},0V${height}` }));
  }
  for (let y = Math.floor(top / 10) * 10; y > top - height; y -= 10) {
    picture.append(svg("path", { class: "net", d: `M0,${top - y}H${width}` }));
  }
  const pin = svg("path", { class: "pin", d: "M0,0c-1-1.900-2-2.700-2-4a2,2 0 0 1 4,0c0,1.300-1,2.100-2,4z" });
  pin.setAttribute("transform", `translate(${width / 2},${top - latitude})`);
  picture.append(svg("circle", { class: "spot", cx: width / 2, cy: top - latitude, r: 1 }), pin);
  return picture;
}
