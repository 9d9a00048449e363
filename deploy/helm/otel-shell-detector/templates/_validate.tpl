{{/* What values.schema.json cannot say: that two values do not go together. */}}
{{- define "osd.validate" -}}
{{- $receiver := dig "receiver" dict .Values.config }}
{{- $size := dig "max_request_size" "16MiB" $receiver }}
{{- $flight := dig "max_in_flight" "64MiB" $receiver }}
{{- if gt (include "osd.bytes" $size | int64) (include "osd.bytes" $flight | int64) }}
{{- fail (printf "config.receiver.max_request_size: got %s; want at most config.receiver.max_in_flight (%s)" $size $flight) }}
{{- end }}
{{- $hec := dig "exporter" "hec" dict .Values.config }}
{{- $index := dig "index" "risk" $hec }}
{{- range list "context_index" "audit_index" }}
{{- if and (not (dig "staged" false $hec)) (eq $index (dig . "otel_shell" $hec)) }}
{{- fail (printf "config.exporter.hec.%s: got %q; want another than config.exporter.hec.index" . $index) }}
{{- end }}
{{- end }}
{{- if and (dig "staged" false $hec) (ne $index (dig "context_index" "otel_shell" $hec)) }}
{{- fail (printf "config.exporter.hec.index: got %q; want %s as context_index, for config.exporter.hec.staged is true" $index (dig "context_index" "otel_shell" $hec)) }}
{{- end }}
{{- end }}
