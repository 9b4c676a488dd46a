// Every page: where it is, what the navigation calls it, who sees it there, which file draws it.
// `path` is the address below the organisation; `:name` is a parameter. `nav` is absent for pages that others lead to.

export const pages = [
  { path: "run", nav: { title: "Run", icon: "play", group: "work" }, load: () => import("./workflows.js") },
  { path: "run/:form", under: "run", load: () => import("./run.js") },
  { path: "approvals", nav: { title: "Approvals", icon: "inbox", group: "work", permission: "canViewExecutions" },
    load: () => import("./approvals.js") },
  { path: "executions", nav: { title: "Executions", icon: "list", group: "work", permission: "canViewExecutions" },
    load: () => import("./executions.js") },
  { path: "executions/:id", under: "executions", load: () => import("./execution.js") },
];

/** Headings of the navigation, in order. A group without a page is not shown. */
export const groups = [["work", "Work"], ["operate", "Operate"], ["manage", "Manage"]];

export const HOME = "run";
