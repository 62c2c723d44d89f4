/** Looks once, now, and shows everything that was seen; nothing is stored. */

import { Button, Drawer } from "@mantine/core";
import { useState } from "react";
import { useTestTarget } from "@/api/targets";
import { ExaminationView } from "@/parts/examination/ExaminationView";
import { Failed, Loading } from "@/parts/States";

export function TestNow({ id }: { id: number }) {
  const test = useTestTarget();
  const [open, setOpen] = useState(false);
  const run = () => {
    setOpen(true);
    test.mutate({ id });
  };
  return (
    <>
      <Button variant="default" size="xs" onClick={run}>
        Test now
      </Button>
      <Drawer
        opened={open}
        onClose={() => setOpen(false)}
        title="Test, not stored"
        position="right"
        size="lg"
      >
        {test.isPending && <Loading rows={6} label="Testing" />}
        {test.isError && <Failed error={test.error} what="the test" retry={run} />}
        {test.isSuccess && (
          <>
            <ExaminationView examination={test.data} />
            <Button variant="default" size="xs" mt={16} onClick={run}>
              Test again
            </Button>
          </>
        )}
      </Drawer>
    </>
  );
}
