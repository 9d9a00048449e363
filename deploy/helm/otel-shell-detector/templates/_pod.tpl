{{/* The pod, for the StatefulSet and for the Deployment. */}}
{{- define "osd.pod" -}}
metadata:
  annotations:
    checksum/config: {{ include "osd.config" . | sha256sum }}
    {{- with omit .Values.podAnnotations "checksum/config" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- $labels := merge (include "osd.selectorLabels" . | fromYaml) (include "osd.labels" . | fromYaml) (deepCopy .Values.podLabels) }}
    {{- toYaml (omit $labels "helm.sh/chart" "app.kubernetes.io/version" "app.kubernetes.io/managed-by") | nindent 4 }}
spec:
  serviceAccountName: {{ include "osd.serviceAccountName" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int64 .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: otel-shell-detector
      image: {{ include "osd.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/otel-shell-detector/config/config.yaml]
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: otlp-grpc
          containerPort: {{ include "osd.port" .Values.config.receiver.endpoint }}
        - name: http
          containerPort: {{ include "osd.port" .Values.config.http.endpoint }}
      {{- with .Values.startupProbe }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.livenessProbe }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.readinessProbe }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- include "osd.resources" . | trim | nindent 8 }}
      # Directories, never a subPath: what changes in a Secret or a ConfigMap reaches the running service.
      volumeMounts:
        - name: config
          mountPath: /etc/otel-shell-detector/config
          readOnly: true
        - name: state
          mountPath: /var/lib/otel-shell-detector
        {{- if include "osd.policies" . }}
        - name: policies
          mountPath: /etc/otel-shell-detector/policies
          readOnly: true
        {{- end }}
        {{- range $folder := include "osd.folders" . | fromYamlArray }}
        - name: {{ $folder }}
          mountPath: /etc/otel-shell-detector/{{ $folder }}
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "osd.fullname" . | quote }}
    {{- with include "osd.policies" . }}
    - name: policies
      configMap:
        name: {{ . | quote }}
    {{- end }}
    {{- $files := include "osd.files" . | fromYamlArray }}
    {{- range $folder := include "osd.folders" . | fromYamlArray }}
    - name: {{ $folder }}
      projected:
        defaultMode: 0440
        sources:
          {{- range $files }}
          {{- if eq .folder $folder }}
          - {{ ternary "configMap" "secret" (empty .secret) }}:
              name: {{ default .configMap .secret | quote }}
              items:
                - key: {{ .item | quote }}
                  path: {{ .file }}
          {{- end }}
          {{- end }}
    {{- end }}
    {{- if or (include "osd.ephemeral" .) (not .Values.persistence.enabled) }}
    - name: state
      emptyDir: {}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "osd.folders" -}}
{{- $folders := list }}
{{- range include "osd.files" . | fromYamlArray }}
{{- $folders = append $folders .folder }}
{{- end }}
{{- toYaml (uniq $folders) }}
{{- end }}
