// Every page: where it is, what the navigation calls it, who sees it there, which file draws it.
// `path` is the address below the organisation; `:name` is a parameter. `nav` is absent for pages that others lead to.

import { session } from "../core/session.js";

export const pages = [
  { path: "run", nav: { title: "Run", icon: "play", group: "work" }, load: () => import("./workflows.js") },
  { path: "run/:form", under: "run", load: () => import("./run.js") },
  { path: "approvals", nav: { title: "Approvals", icon: "inbox", group: "work", permission: "canViewExecutions" },
    load: () => import("./approvals.js") },
  { path: "executions", nav: { title: "Executions", icon: "list", group: "work", permission: "canViewExecutions" },
    load: () => import("./executions.js") },
  { path: "executions/:id", under: "executions", load: () => import("./execution.js") },
  { path: "overview", nav: { title: "Overview", icon: "chart", group: "operate", permission: "canViewExecutions" },
    load: () => import("./overview.js") },
  { path: "schedules", nav: { title: "Schedules", icon: "clock", group: "operate", permission: "canViewExecutions" },
    load: () => import("./schedules.js") },
  { path: "schedules/:workflow", under: "schedules", load: () => import("./schedule.js") },
  { path: "webhooks", nav: { title: "Webhooks", icon: "hook", group: "operate", permission: "canManageWebhooks" },
    load: () => import("./webhooks.js") },
  { path: "webhooks/:workflow", under: "webhooks", load: () => import("./webhook.js") },
  { path: "dead-letters", nav: { title: "Dead letters", icon: "alert", group: "operate", permission: "canViewExecutions" },
    load: () => import("./dead-letters.js") },
  { path: "executors", nav: { title: "Executors", icon: "box", group: "operate", permission: "canViewInternals" },
    load: () => import("./executors.js") },
  { path: "code", nav: { title: "Workflows", icon: "book", group: "operate" }, load: () => import("./code.js") },
  { path: "code/:workflow", under: "code", load: () => import("./definition.js") },
  { path: "config", nav: { title: "Configuration", icon: "pen", group: "manage", permission: "canManageConfig" },
    load: () => import("./config.js") },
  { path: "secrets", nav: { title: "Secrets", icon: "lock", group: "manage", permission: "canManageSecrets" },
    load: () => import("./secrets.js") },
  { path: "keys", nav: { title: "Keys", icon: "key", group: "manage", permission: "canManageKeys" }, load: () => import("./keys.js") },
  { path: "orgs", nav: { title: "Organisations", icon: "org", group: "manage", permission: "canManageOrgs" },
    load: () => import("./orgs.js") },
  { path: "audit", nav: { title: "Audit trail", icon: "search", group: "manage", permission: "canViewAudit" },
    load: () => import("./audit.js") },
];

/** Headings of the navigation, in order. A group without a page is not shown. */
export const groups = [["work", "Work"], ["operate", "Operate"], ["manage", "Manage"]];

/** Where somebody begins: whoever looks after organisations with how they do, everybody else with what there is to run. */
export const home = () => (session.can("canManageOrgs") ? "overview" : "run");
