# ti_trainer for the CPU. For a GPU: --build-arg TORCH=torch==2.13.0 --build-arg INDEX=https://pypi.org/simple
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG TORCH=torch==2.13.0+cpu
ARG INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HOME=/data/huggingface

RUN pip install --extra-index-url ${INDEX} ${TORCH}
WORKDIR /opt/ti_trainer
COPY . .
RUN pip install -c constraints.txt . && useradd --create-home trainer && mkdir -p /data && chown trainer /data

USER trainer
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=5m --timeout=60s --start-period=30s CMD ["ti-trainer", "doctor", "--output", "/data/runs"]
ENTRYPOINT ["ti-trainer"]
CMD ["--help"]
