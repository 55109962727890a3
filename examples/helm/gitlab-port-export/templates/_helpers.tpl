{{- define "export.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: a CronJob adds 11 to the name of its jobs. */}}
{{- define "export.fullname" -}}
{{- default (printf "%s-%s" .Release.Name (include "export.name" .) | trunc 52 | trimSuffix "-") .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
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
