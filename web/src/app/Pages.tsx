/** Which page stands at which address. Each is loaded when it is first gone to. */

import { lazy, Suspense } from "react";
import { Link, Redirect, Route, Switch } from "wouter";
import { Empty, Loading } from "@/parts/States";

const overview = () => import("@/pages/overview/Overview");
const targets = () => import("@/pages/targets/Targets");

const Overview = lazy(overview);
const Targets = lazy(targets);
const TargetPage = lazy(() => import("@/pages/target/TargetPage"));
const TargetForm = lazy(() => import("@/pages/target-form/TargetForm"));
const Machines = lazy(() => import("@/pages/machines/Machines"));
const AddMachine = lazy(() => import("@/pages/machines/AddMachine"));
const MachinePage = lazy(() => import("@/pages/machine/MachinePage"));
const Alerting = lazy(() => import("@/pages/alerting/Alerting"));
const Settings = lazy(() => import("@/pages/settings/Settings"));

/** Fetches the two pages people land on, while there is nothing better to do. */
export function prefetchPages(): void {
  void Promise.all([overview(), targets()]);
}

export function Pages() {
  return (
    <Suspense fallback={<Loading rows={6} label="Loading the page" />}>
      <Switch>
        <Route path="/" component={Overview} />
        <Route path="/targets" component={Targets} />
        <Route path="/targets/new">
          <TargetForm key="new" id={null} />
        </Route>
        <Route path="/targets/:id/edit">{({ id }) => <TargetForm key={id} id={Number(id)} />}</Route>
        <Route path="/targets/:id">{({ id }) => <TargetPage key={id} id={Number(id)} />}</Route>
        <Route path="/machines" component={Machines} />
        <Route path="/machines/new" component={AddMachine} />
        <Route path="/machines/:id/settings">
          {({ id }) => <MachinePage key={id} id={Number(id)} settings />}
        </Route>
        <Route path="/machines/:id">{({ id }) => <MachinePage key={id} id={Number(id)} />}</Route>
        <Route path="/alerting">
          <Redirect to="/alerting/channels" replace />
        </Route>
        <Route path="/alerting/:part">{({ part }) => <Alerting part={part} />}</Route>
        <Route path="/settings" component={Settings} />
        <Route>
          <Empty title="There is no such page">
            <Link href="/" className="link">
              Back to the overview
            </Link>
          </Empty>
        </Route>
      </Switch>
    </Suspense>
  );
}
