"""CDK entry point: composes the stack, nothing else. Writes to cdk.out, or to the folder that CDK_OUTDIR names."""

import os

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.stack import VigilStack
from vigil.names import STACK

app = cdk.App(
    outdir=os.environ.get("CDK_OUTDIR", "cdk.out"),
    analytics_reporting=False,
    # The template is the same whether the agent's package is built or not: its asset hash is that of its sources.
    context=None if os.environ.get("VIGIL_BUNDLE") else {"aws:cdk:bundling-stacks": []},
)
VigilStack(app, STACK)
if os.environ.get("VIGIL_NAG"):
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks())
app.synth()
