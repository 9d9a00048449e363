{{/* What values.schema.json cannot say: that two values do not go together. The words are those of the application. */}}
{{- define "osd.validate" -}}
{{- include "osd.validate.values" . }}
{{- $config := include "osd.config" . | fromYaml }}
{{- range $key, $bounds := .Files.Get "files/bounds.json" | fromJson }}
{{- $value := $config }}
{{- range splitList "." $key }}
{{- $value = ternary (get (default dict $value) .) nil (kindIs "map" (default dict $value)) }}
{{- end }}
{{- if $value }}
{{- $amount := include (ternary "osd.nanoseconds" "osd.bytes" (eq $bounds.kind "duration")) $value | int64 }}
{{- if or (lt $amount (int64 $bounds.least)) (gt $amount (int64 $bounds.most)) }}
{{- fail (printf "config.%s: got %s; want %s" $key $value $bounds.want) }}
{{- end }}
{{- end }}
{{- end }}
{{- include "osd.validate.receiver" (dig "receiver" dict $config) }}
{{- include "osd.validate.detector" (dig "detector" dict $config) }}
{{- include "osd.validate.exporter" (dig "exporter" dict $config) }}
{{- end }}

{{- define "osd.validate.values" -}}
{{- if not (dig "detector" "cluster_name" "" .Values.config) }}
{{- fail "config.detector.cluster_name: got nothing; want the name of this cluster. A release needs it, config.exporter.hec.url and hecToken.secretName" }}
{{- end }}
{{- if regexMatch "^([0-9]|$)" (include "osd.fullname" .) }}
{{- fail (printf "the name of the release's objects: got %q; want one that begins with a letter: name the release so, or set fullnameOverride" (include "osd.fullname" .)) }}
{{- end }}
{{- if and .Values.persistence.enabled (not (include "osd.ephemeral" .)) }}
{{- $state := dig "state" "max_size" "1GiB" .Values.config }}
{{- $bytes := include "osd.bytes" $state | int64 }}
{{- $least := add $bytes (div $bytes 8) 67108864 }}
{{- if lt (include "osd.quantity" .Values.persistence.size | int64) $least }}
{{- fail (printf "persistence.size: got %s; want at least %dMi, for config.state.max_size is %s, and its log, its ballast and the filesystem need an eighth more and 64Mi" .Values.persistence.size (div (add $least 1048575) 1048576) $state) }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (ne .Values.service.type "ClusterIP") }}
{{- fail (printf "serviceMonitor.enabled: got true; want podMonitor.enabled, for a Service of type %s does not show the metrics" .Values.service.type) }}
{{- end }}
{{- if and .Values.hecToken.secretName .Values.hecToken.value }}
{{- fail "hecToken: got secretName and value; want one of them" }}
{{- end }}
{{- if and .Values.hecCa.secretName .Values.hecCa.configMapName }}
{{- fail "hecCa: got secretName and configMapName; want one of them" }}
{{- end }}
{{- if and .Values.bearerTokens.secretName .Values.bearerTokens.values }}
{{- fail "bearerTokens: got secretName and values; want one of them" }}
{{- end }}
{{- if and .Values.policies .Values.policiesConfigMap }}
{{- fail "policies: got policies and policiesConfigMap; want one of them" }}
{{- end }}
{{- if and .Values.receiverTls.requireClientCertificates (not .Values.receiverTls.secretName) }}
{{- fail "receiverTls.secretName: got nothing; want a Secret with ca.crt, for receiverTls.requireClientCertificates is true" }}
{{- end }}
{{- if and .Values.otlpTls.clientCertificate (not .Values.otlpTls.secretName) }}
{{- fail "otlpTls.secretName: got nothing; want a Secret with tls.crt and tls.key, for otlpTls.clientCertificate is true" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.otlp.peers) (not .Values.networkPolicy.otlp.ipBlocks) }}
{{- fail "networkPolicy.otlp: got neither peers nor ipBlocks; want those that may send, for networkPolicy.enabled is true" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "podMonitor.enabled: got true; want false, for serviceMonitor.enabled is true and every sample would count twice" }}
{{- end }}
{{- range list "receiver" "http" }}
{{- if regexMatch "^(127\\..*|localhost|\\[::1\\]):" (get $.Values.config .).endpoint }}
{{- fail (printf "config.%s.endpoint: got %q; want an address that other pods reach, such as 0.0.0.0" . (get $.Values.config .).endpoint) }}
{{- end }}
{{- if not (include "osd.port" (get $.Values.config .).endpoint | int | lt 0) }}
{{- fail (printf "config.%s.endpoint: got %q; want a port above 0" . (get $.Values.config .).endpoint) }}
{{- end }}
{{- end }}
{{- if eq (include "osd.port" .Values.config.receiver.endpoint) (include "osd.port" .Values.config.http.endpoint) }}
{{- fail (printf "config.http.endpoint: got %q; want another port than that of config.receiver.endpoint" .Values.config.http.endpoint) }}
{{- end }}
{{- end }}

{{- define "osd.validate.receiver" -}}
{{- $size := dig "max_request_size" "16MiB" . }}
{{- $flight := dig "max_in_flight" "64MiB" . }}
{{- if gt (include "osd.bytes" $size | int64) (include "osd.bytes" $flight | int64) }}
{{- fail (printf "config.receiver.max_request_size: got %s; want at most config.receiver.max_in_flight (%s)" $size $flight) }}
{{- end }}
{{- $tls := dig "tls" dict . }}
{{- if and $tls.cert_file (not $tls.key_file) }}
{{- fail "config.receiver.tls.key_file: got nothing; want the key of config.receiver.tls.cert_file" }}
{{- end }}
{{- if and (or $tls.key_file $tls.client_ca_file) (not $tls.cert_file) }}
{{- fail "config.receiver.tls.cert_file: got nothing; want a certificate, for config.receiver.tls is set" }}
{{- end }}
{{- if and .require_auth (not .bearer_token_file) (not $tls.client_ca_file) }}
{{- fail "config.receiver.require_auth: got true; want bearerTokens or receiverTls.requireClientCertificates with it" }}
{{- end }}
{{- end }}

{{- define "osd.validate.detector" -}}
{{- $window := dig "window" "10s" . }}
{{- $horizon := dig "replay_horizon" "1h" . }}
{{- $lateness := dig "lateness" "5s" . }}
{{- $renotify := dig "renotify" "1h" . }}
{{- $ns := include "osd.nanoseconds" $window | int64 }}
{{- $horizonNs := include "osd.nanoseconds" $horizon | int64 }}
{{- if mod $horizonNs $ns }}
{{- fail (printf "config.detector.replay_horizon: got %s; want a multiple of config.detector.window (%s)" $horizon $window) }}
{{- end }}
{{- if gt (div $horizonNs $ns) 4096 }}
{{- fail (printf "config.detector.replay_horizon: got %s; want at most 4096 times config.detector.window (%s)" $horizon $window) }}
{{- end }}
{{- if gt (include "osd.nanoseconds" $lateness | int64) $horizonNs }}
{{- fail (printf "config.detector.lateness: got %s; want at most config.detector.replay_horizon (%s)" $lateness $horizon) }}
{{- end }}
{{- if lt (include "osd.nanoseconds" $renotify | int64) $ns }}
{{- fail (printf "config.detector.renotify: got %s; want at least config.detector.window (%s)" $renotify $window) }}
{{- end }}
{{- end }}

{{- define "osd.validate.exporter" -}}
{{- $hec := dig "hec" dict . }}
{{- $index := dig "index" "risk" $hec }}
{{- $context := dig "context_index" "otel_shell" $hec }}
{{- if dig "staged" false $hec }}
{{- if ne $index $context }}
{{- fail (printf "config.exporter.hec.index: got %q; want %s as context_index, for config.exporter.hec.staged is true" $index $context) }}
{{- end }}
{{- else }}
{{- range list "context_index" "audit_index" }}
{{- if eq $index (dig . "otel_shell" $hec) }}
{{- fail (printf "config.exporter.hec.%s: got %q; want another than config.exporter.hec.index" . $index) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .sink "file") (not (dig "file" "path" "" .)) }}
{{- fail "config.exporter.file.path: got nothing; want a path, for config.exporter.sink is file" }}
{{- end }}
{{- if eq .sink "hec" }}
{{- if not $hec.url }}
{{- fail "config.exporter.hec.url: got nothing; want the base URL of Splunk, for config.exporter.sink is hec" }}
{{- end }}
{{- if not $hec.token_file }}
{{- fail "hecToken.secretName: got nothing; want a Secret with the HEC token, for config.exporter.sink is hec" }}
{{- end }}
{{- end }}
{{- if eq .sink "otlp" }}
{{- $endpoint := dig "otlp" "endpoint" "" . }}
{{- $tls := dig "otlp" "tls" dict . }}
{{- if not $endpoint }}
{{- fail "config.exporter.otlp.endpoint: got nothing; want the base URL of a collector, for config.exporter.sink is otlp" }}
{{- end }}
{{- if ne (empty $tls.cert_file) (empty $tls.key_file) }}
{{- fail "config.exporter.otlp.tls: got one of cert_file and key_file; want both or none" }}
{{- end }}
{{- if and (not (hasPrefix "https:" (lower $endpoint))) (or $tls.ca_file $tls.cert_file) }}
{{- fail (printf "config.exporter.otlp.endpoint: got %q; want https://, for config.exporter.otlp.tls is set" $endpoint) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The nanoseconds of a duration such as 10s or 1h30m. */}}
{{- define "osd.nanoseconds" -}}
{{- $units := dict "d" 86400000000000 "h" 3600000000000 "m" 60000000000 "s" 1000000000 "ms" 1000000 "us" 1000 "ns" 1 }}
{{- $sum := int64 0 }}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 }}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- $sum }}
{{- end }}
