// What to do about an error, by its name in the record.

const BY_NAME = {
  ValidationError: "Something that was entered does not fit. Correct it and run it again.",
  IntegrationError: "The other system refused or did not answer. Look at the calls in the timeline; when it is well again, run this again.",
  ConfigurationError: "A setting of the organisation is missing. Whoever manages its configuration can set it; then run this again.",
  PermissionError: "The workflow does not allow this to whoever ran it. Ask somebody who may.",
  TimeoutError: "It took longer than it may. Run it again; if it happens again, its timeout_seconds is too short or what it waits for hangs.",
  SerializationError: "The workflow returned what JSON cannot hold. Its author has to change that.",
  ResultTooLarge: "The workflow returned more than a message holds. Its author has to return less.",
  WorkflowNotFound: "No executor has this workflow's code any more. Deploy it again, then run this again.",
  WorkerCrashed: "The code ended its own process. Its author finds the last thing it did in the log.",
  ExecutorLost: "Its executors were lost again and again. Look at their hosts, above all at their memory.",
  BadMessage: "Its request could not be read; it is kept as a dead letter.",
  ApprovalRejected: "Somebody said no; the reason stands beside it.",
  ApprovalExpired: "Nobody decided in time. Ask again.",
  InternalServerError: "The code raised an error that it did not expect. Its author finds the traceback under “internal”, with the permission canViewInternals.",
  Cancelled: "",
};

export const advice = (error) => BY_NAME[error] ?? "Its author knows this error; the log says what came before it.";
