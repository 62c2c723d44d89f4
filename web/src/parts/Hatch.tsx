/** The pattern of the unknown, defined once for every drawing of the page. */

export function Hatch() {
  return (
    <svg width="0" height="0" style={{ position: "absolute" }} aria-hidden>
      <defs>
        <pattern id="hatch" width="3" height="3" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="1.2" height="3" fill="var(--unknown)" />
        </pattern>
      </defs>
    </svg>
  );
}
