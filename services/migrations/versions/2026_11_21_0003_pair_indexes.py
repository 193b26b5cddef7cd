"""Indexes on the two acquisitions of a pair, which are asked for when files are gone.

Before or after the deploy: without it the code is slower only.

Revision: 0003, after 0002.
"""

from collections.abc import Sequence

from alembic import op

revision: str = '0003'
down_revision: str | None = '0002'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Applies this version."""
    with op.batch_alter_table('pair', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_pair_current_id'), ['current_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pair_prior_id'), ['prior_id'], unique=False)


def downgrade() -> None:
    """Takes this version back."""
    with op.batch_alter_table('pair', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_pair_prior_id'))
        batch_op.drop_index(batch_op.f('ix_pair_current_id'))
