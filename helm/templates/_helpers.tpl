{{/*
What Attune consists of: the ports of each service and of its worker, and the services it calls.
A fact of the product, not a choice of an installation; therefore it is here and not among the values.
*/}}
{{- define "attune.services" -}}
audience:
  ports: {service: 8001, worker: 8011}
  calls: []
experiments:
  ports: {service: 8002, worker: 8012}
  calls: [audience]
feedback:
  ports: {service: 8003, worker: 8013}
  calls: [audience, experiments]
{{- end -}}

{{- define "attune.fullname" -}}
{{- if contains "attune" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-attune" (.Release.Name | trunc 33 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Component of a service and a role: `audience` for the service itself, `audience-worker` for its worker. */}}
{{- define "attune.component" -}}
{{- if eq .role "worker" }}{{ .service }}-worker{{ else }}{{ .service }}{{ end }}
{{- end -}}

{{- define "attune.selector" -}}
app.kubernetes.io/name: attune
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "attune.labels" -}}
{{ include "attune.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: attune
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "attune.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* What all pods share, as the restricted pod security standard wants it. */}}
{{- define "attune.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.scheduling.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
  - name: scratch
    emptyDir: {sizeLimit: 1Gi}
{{- end -}}

{{/* What all containers share. The root file system is read-only; /tmp is not. */}}
{{- define "attune.container" -}}
image: {{ include "attune.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: scratch, mountPath: /tmp}
{{- end -}}

{{/* One variable out of an existing secret. */}}
{{- define "attune.fromSecret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .variable }}{{ if .optional }}, optional: true{{ end }}}
{{- end -}}

{{/* Settings that all processes share. Written out, not in a ConfigMap: the migration runs before the chart's objects exist. */}}
{{- define "attune.settings" -}}
{{- with .Values.settings -}}
- {name: ATTUNE_CURRENCY, value: {{ .currency | quote }}}
- {name: ATTUNE_LOG_LEVEL, value: {{ .logLevel | quote }}}
- {name: ATTUNE_GLOBAL_CONTROL_SHARE, value: {{ .globalControlShare | quote }}}
- {name: ATTUNE_DATABASE_POOL, value: {{ .databasePool | quote }}}
- {name: ATTUNE_WORKER_CONCURRENCY, value: {{ .workerConcurrency | quote }}}
{{- end -}}
{{- end -}}
