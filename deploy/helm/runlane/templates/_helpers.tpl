{{- define "runlane.labels" -}}
app.kubernetes.io/name: runlane
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Which files of the secret a service is given. */}}
{{- define "runlane.secrets" -}}
{{- $of := dict
  "gateway" (list "master_key" "database_url" "redis_url" "nats_gateway_password")
  "executor" (list "master_key" "redis_url" "nats_executor_password")
  "scheduler" (list "master_key" "nats_scheduler_password")
  "recorder" (list "master_key" "database_url" "nats_recorder_password")
  "migrate" (list "master_key" "database_url" "nats_operator_password" "admin_key")
-}}
{{- get $of . | toJson -}}
{{- end }}

{{- define "runlane.env" -}}
{{- $secrets := include "runlane.secrets" .component | fromJsonArray -}}
- {name: RUNLANE_NATS_URL, value: {{ .root.Values.nats.url | quote }}}
- {name: RUNLANE_STREAM_REPLICAS, value: {{ .root.Values.nats.replicas | quote }}}
- {name: RUNLANE_NATS_USER, value: {{ .component | replace "migrate" "operator" }}}
- {name: RUNLANE_NATS_PASSWORD_FILE, value: /run/secrets/nats_{{ .component | replace "migrate" "operator" }}_password}
- {name: RUNLANE_MASTER_KEY_FILE, value: /run/secrets/master_key}
{{- if has "database_url" $secrets }}
- {name: RUNLANE_DATABASE_URL_FILE, value: /run/secrets/database_url}
{{- end }}
{{- if has "redis_url" $secrets }}
- {name: RUNLANE_REDIS_URL_FILE, value: /run/secrets/redis_url}
{{- end }}
- {name: RUNLANE_HTTP_HOST, value: 0.0.0.0}
- {name: RUNLANE_HEALTH_PORT, value: "9100"}
{{- range $name, $value := .root.Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "runlane.pod" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {}
  - name: secrets
    secret:
      secretName: {{ .root.Values.existingSecret }}
      defaultMode: 0440
      items:
        {{- range include "runlane.secrets" .component | fromJsonArray }}
        - {key: {{ . }}, path: {{ . }}}
        {{- end }}
{{- end }}

{{- define "runlane.container" -}}
image: {{ .root.Values.image | quote }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- end }}
