{{- define "beacon.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 48 | trimSuffix "-" }}
{{- end -}}

{{- define "beacon.fullname" -}}
{{- $name := include "beacon.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ .Values.fullnameOverride | default $full | trunc 48 | trimSuffix "-" }}
{{- end -}}

{{- define "beacon.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "beacon.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{- define "beacon.secret" -}}
{{- if .Values.existingSecret }}{{ .Values.existingSecret }}{{ else if .Values.token }}{{ include "beacon.fullname" . }}-endpoint{{ end -}}
{{- end -}}

{{/* An image: the chart's context, the values of the image. */}}
{{- define "beacon.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "beacon.releaseLabels" -}}
app.kubernetes.io/part-of: beacon
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "beacon.labels" -}}
{{ include "beacon.selector" . }}
{{ include "beacon.releaseLabels" . | replace (printf "app.kubernetes.io/instance: %s\n" (quote .Release.Name)) "" }}
{{- end -}}

{{- define "beacon.selector" -}}
app.kubernetes.io/name: {{ include "beacon.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "beacon.testSelector" -}}
app.kubernetes.io/name: {{ include "beacon.name" . }}-test-endpoint
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The ports and paths of the exporter: those of the configuration, else Beacon's defaults. */}}
{{- define "beacon.exporter" -}}
{{- $metrics := .Values.config.metrics | default dict -}}
{{- $health := .Values.config.health | default dict -}}
{{- $port := $metrics.port | default 8080 | int -}}
{{- $healthPort := $health.port | default 8080 | int -}}
metricsPort: {{ $port }}
healthPort: {{ $healthPort }}
healthName: {{ ternary "http" "health" (eq $port $healthPort) }}
metricsPath: {{ $metrics.path | default "/metrics" | quote }}
livenessPath: {{ $health.livenessPath | default "/healthz" | quote }}
readinessPath: {{ $health.readinessPath | default "/ready" | quote }}
{{- end -}}

{{/* Refuse values that the schema accepts, and that would lead to a Beacon that cannot work. */}}
{{- define "beacon.check" -}}
{{- range $name := list "replicas" "replicaCount" -}}
{{- if and (hasKey $.Values $name) (ne (toString (get $.Values $name)) "1") -}}
{{- fail (printf "%s: Beacon runs as exactly one replica, because its ledger has one owner; remove the value" $name) -}}
{{- end -}}
{{- end -}}
{{- $endpoint := .Values.config.endpoint | default dict -}}
{{- $given := or $endpoint.url .Values.testEndpoint.enabled -}}
{{- range .Values.extraEnv }}{{ if eq (toString .name) "ENDPOINT_URL" }}{{ $given = true }}{{ end }}{{ end -}}
{{- $endpoints := .Values.config.endpoints | default list -}}
{{- range $place, $one := $endpoints -}}
{{- if $one.url -}}{{- $given = true -}}
{{- else if gt (len $endpoints) 1 -}}
{{- fail (printf "config.endpoints[%d].url is missing: set the URL that Beacon sends its events to" $place) -}}
{{- end -}}
{{- end -}}
{{- if not $given -}}
{{- fail "config.endpoint.url is missing: set the URL that Beacon sends its events to, for example --set config.endpoint.url=https://receiver.example.com/events" -}}
{{- end -}}
{{- if eq (trim .Values.token) "replace-me" -}}
{{- fail "token: `replace-me` is the placeholder of the examples, and Beacon never sends it; set the endpoint's token, or name a Secret in existingSecret" -}}
{{- end -}}
{{- if and .Values.token .Values.existingSecret -}}
{{- fail "token and existingSecret are both set: remove one of them" -}}
{{- end -}}
{{- if and .Values.token (gt (len $endpoints) 1) -}}
{{- fail "token: means the only endpoint, but config.endpoints has several; give each its own `headers`" -}}
{{- end -}}
{{- end -}}
