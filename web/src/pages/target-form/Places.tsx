/** From where a target is checked, and how many of those places must agree. Not shown while there is only one. */

import { NumberInput, Select, TagsInput } from "@mantine/core";
import { useLocations } from "@/api/locations";
import type { Draft } from "@/parts/form/draft";
import { errorsUnder } from "@/parts/form/Field";
import styles from "./Editor.module.css";

const QUORUMS = [
  { value: "majority", label: "more than half of them" },
  { value: "any", label: "one of them" },
  { value: "all", label: "all of them" },
  { value: "number", label: "a number of them" },
];
const FIRST_NUMBER = 2;
const ORDER: ("label" | "input" | "description" | "error")[] = ["label", "input", "description", "error"];

export function Places({ draft }: { draft: Draft }) {
  const { data: known = [] } = useLocations();
  const named = draft.value("locations");
  const chosen = Array.isArray(named) ? named.map(String) : [];
  const wanted = draft.value("quorum");
  const quorum = typeof wanted === "number" || typeof wanted === "string" ? wanted : "majority";
  const wrong = errorsUnder("locations", draft) ?? errorsUnder("quorum", draft);
  if (known.length < 2 && chosen.length === 0 && quorum === "majority" && wrong === null) return null;
  return (
    <fieldset className={styles.places}>
      <legend>Where it is checked from</legend>
      <div className={styles.fields}>
        <div className={styles.whole}>
          <TagsInput
            label="Locations"
            description="Empty: every location."
            inputWrapperOrder={ORDER}
            name="locations"
            placeholder={chosen.length === 0 ? "every location" : ""}
            data={known.map((each) => each.name)}
            value={chosen}
            acceptValueOnBlur
            splitChars={[","]}
            error={errorsUnder("locations", draft)}
            onChange={(next) => draft.set("locations", next)}
          />
        </div>
        <div className={styles.short}>
          <Select
            label="Down when it is down from"
            description="Locations that measure nothing do not count."
            inputWrapperOrder={ORDER}
            name="quorum"
            data={QUORUMS}
            allowDeselect={false}
            checkIconPosition="right"
            value={typeof quorum === "number" ? "number" : quorum}
            error={errorsUnder("quorum", draft)}
            onChange={(next) => draft.set("quorum", next === "number" ? FIRST_NUMBER : next)}
          />
        </div>
        {typeof quorum === "number" && (
          <div className={styles.short}>
            <NumberInput
              label="How many"
              name="quorum_number"
              min={1}
              allowDecimal={false}
              hideControls
              value={quorum}
              onChange={(next) => draft.set("quorum", typeof next === "number" ? next : FIRST_NUMBER)}
            />
          </div>
        )}
      </div>
    </fieldset>
  );
}
