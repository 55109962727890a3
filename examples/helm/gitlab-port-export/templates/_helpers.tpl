{{- define "export.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's unless it is in there. At most 52 characters: a CronJob adds 11 for its jobs. */}}
{{- define "export.fullname" -}}
{{- $name := include "export.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "export.secret" -}}
{{- default (include "export.fullname" .) .Values.secret.name -}}
{{- end -}}

{{- define "export.labels" -}}
app.kubernetes.io/name: {{ include "export.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
