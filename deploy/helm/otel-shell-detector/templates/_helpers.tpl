{{- define "osd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters: a StatefulSet's pods carry its name and a hash of 11 as a label of at most 63.
Dashes for dots, which a release may have in its name and a Service may not. */}}
{{- define "osd.fullname" -}}
{{- $name := include "osd.name" . }}
{{- $whole := printf "%s-%s" .Release.Name $name }}
{{- if .Values.fullnameOverride }}
{{- $whole = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $whole = .Release.Name }}
{{- end }}
{{- $whole | replace "." "-" | trunc 52 | trimAll "-" }}
{{- end }}

{{- define "osd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "osd.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "osd.labels" -}}
{{- $own := include "osd.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- toYaml (merge $own (deepCopy .Values.commonLabels)) }}
{{- end }}

{{- define "osd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "osd.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "osd.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The port of "host:port". */}}
{{- define "osd.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{/* The bytes of a size such as 64MiB or 1MB. */}}
{{- define "osd.bytes" -}}
{{- $units := dict "GiB" 1073741824 "GB" 1000000000 "MiB" 1048576 "MB" 1000000 "KiB" 1024 "kB" 1000 "KB" 1000 "B" 1 }}
{{- mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[A-Za-z]+$" .)) }}
{{- end }}

{{/* The bytes of a quantity of Kubernetes such as 1.5Gi. */}}
{{- define "osd.quantity" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "E" 1000000000000000000 }}
{{- $units = merge $units (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976) }}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]*$" .)) | int64 }}
{{- end }}

{{- define "osd.ephemeral" -}}
{{- if dig "state" "ephemeral" false .Values.config }}true{{ end }}
{{- end }}

{{- define "osd.hecSecret" -}}
{{- default (ternary (printf "%s-hec" (include "osd.fullname" .)) "" (ne .Values.hecToken.value "")) .Values.hecToken.secretName }}
{{- end }}

{{- define "osd.bearerSecret" -}}
{{- default (ternary (printf "%s-bearer" (include "osd.fullname" .)) "" (not (empty .Values.bearerTokens.values))) .Values.bearerTokens.secretName }}
{{- end }}

{{- define "osd.policies" -}}
{{- default (ternary (printf "%s-policies" (include "osd.fullname" .)) "" (not (empty .Values.policies))) .Values.policiesConfigMap }}
{{- end }}

{{/* The files that the chart mounts: the key of the configuration that names each, its folder, and where it comes from. */}}
{{- define "osd.files" -}}
{{- with include "osd.hecSecret" . }}
- {key: exporter.hec.token_file, folder: hec-token, file: token, secret: {{ . | quote }}, item: {{ ternary "token" $.Values.hecToken.key (empty $.Values.hecToken.secretName) | quote }}}
{{- end }}
{{- if or .Values.hecCa.secretName .Values.hecCa.configMapName }}
- {key: exporter.hec.tls.ca_file, folder: hec-ca, file: ca.crt, secret: {{ .Values.hecCa.secretName | quote }}, configMap: {{ .Values.hecCa.configMapName | quote }}, item: {{ .Values.hecCa.key | quote }}}
{{- end }}
{{- with .Values.receiverTls.secretName }}
- {key: receiver.tls.cert_file, folder: receiver-tls, file: tls.crt, secret: {{ . | quote }}, item: tls.crt}
- {key: receiver.tls.key_file, folder: receiver-tls, file: tls.key, secret: {{ . | quote }}, item: tls.key}
{{- if $.Values.receiverTls.requireClientCertificates }}
- {key: receiver.tls.client_ca_file, folder: receiver-tls, file: ca.crt, secret: {{ . | quote }}, item: ca.crt}
{{- end }}
{{- end }}
{{- with include "osd.bearerSecret" . }}
- {key: receiver.bearer_token_file, folder: bearer-tokens, file: tokens, secret: {{ . | quote }}, item: {{ ternary "tokens" $.Values.bearerTokens.key (empty $.Values.bearerTokens.secretName) | quote }}}
{{- end }}
{{- with .Values.otlpToken.secretName }}
- {key: exporter.otlp.token_file, folder: otlp-token, file: token, secret: {{ . | quote }}, item: {{ $.Values.otlpToken.key | quote }}}
{{- end }}
{{- with .Values.otlpTls.secretName }}
- {key: exporter.otlp.tls.ca_file, folder: otlp-tls, file: ca.crt, secret: {{ . | quote }}, item: ca.crt}
{{- if $.Values.otlpTls.clientCertificate }}
- {key: exporter.otlp.tls.cert_file, folder: otlp-tls, file: tls.crt, secret: {{ . | quote }}, item: tls.crt}
- {key: exporter.otlp.tls.key_file, folder: otlp-tls, file: tls.key, secret: {{ . | quote }}, item: tls.key}
{{- end }}
{{- end }}
{{- end }}

{{/* The configuration of the application: `config`, and the paths of what the chart mounts. */}}
{{- define "osd.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $set := list (dict "key" "state.path" "value" "/var/lib/otel-shell-detector") }}
{{- if include "osd.policies" . }}
{{- $set = append $set (dict "key" "policy.path" "value" "/etc/otel-shell-detector/policies") }}
{{- end }}
{{- range include "osd.files" . | fromYamlArray }}
{{- $set = append $set (dict "key" .key "value" (printf "/etc/otel-shell-detector/%s/%s" .folder .file)) }}
{{- end }}
{{- range $set }}
{{- $names := splitList "." .key }}
{{- $section := $config }}
{{- range initial $names }}
{{- if not (hasKey $section .) }}
{{- $_ := set $section . dict }}
{{- end }}
{{- $section = get $section . }}
{{- end }}
{{- if hasKey $section (last $names) }}
{{- fail (printf "config.%s: got %v; want nothing, for the chart mounts that file" .key (get $section (last $names))) }}
{{- end }}
{{- $_ := set $section (last $names) .value }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "osd.resources" -}}
{{- if .Values.resources }}
{{- toYaml .Values.resources }}
{{- else }}
{{- $flight := div (add (include "osd.bytes" (dig "receiver" "max_in_flight" "64MiB" .Values.config) | int64) 1048575) 1048576 }}
requests:
  cpu: 100m
  memory: {{ add 128 (mul 4 $flight) }}Mi
limits:
  memory: {{ add 256 (mul 8 $flight) }}Mi
{{- end }}
{{- end }}
