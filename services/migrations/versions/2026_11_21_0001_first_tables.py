"""The first tables.

Before the deploy: the code needs every table.

Revision: 0001, after nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0001'
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Applies this version."""
    op.create_table('archive',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('root', sa.Text(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('files_seen', sa.Integer(), nullable=False),
    sa.Column('sidecars', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_archive'))
    )
    op.create_table('audit',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('model_name', sa.String(), nullable=False),
    sa.Column('model_hash', sa.String(), nullable=False),
    sa.Column('adapter_hash', sa.String(), nullable=False),
    sa.Column('prompt_version', sa.String(), nullable=False),
    sa.Column('labels_sha256', sa.String(), nullable=False),
    sa.Column('reports_sha256', sa.String(), nullable=False),
    sa.Column('n_pairs', sa.Integer(), nullable=False),
    sa.Column('f1', sa.Double(), nullable=True),
    sa.Column('result', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit'))
    )
    with op.batch_alter_table('audit', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_audit_domain'), ['domain'], unique=False)

    op.create_table('takeover',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_takeover'))
    )
    op.create_table('worker',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('machine', sa.String(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('beats', sa.Integer(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('beat_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('stopped_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_worker'))
    )
    op.create_table('acquisition',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('archive_id', sa.String(), nullable=False),
    sa.Column('uid', sa.String(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('time', sa.String(), nullable=True),
    sa.Column('time_source', sa.String(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('sha256', sa.String(), nullable=False),
    sa.Column('pixel_sha256', sa.String(), nullable=False),
    sa.Column('grid', sa.JSON(), nullable=False),
    sa.Column('group', sa.String(), nullable=False),
    sa.Column('view', sa.String(), nullable=False),
    sa.Column('study', sa.String(), nullable=False),
    sa.Column('attributes', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['archive_id'], ['archive.id'], name=op.f('fk_acquisition_archive_id_archive')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_acquisition'))
    )
    with op.batch_alter_table('acquisition', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_acquisition_archive_id_name'), ['archive_id', 'name'], unique=False)
        batch_op.create_index(batch_op.f('ix_acquisition_subject'), ['subject'], unique=False)
        batch_op.create_index(batch_op.f('ix_acquisition_uid'), ['uid'], unique=False)

    op.create_table('refusal',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('archive_id', sa.String(), nullable=False),
    sa.Column('item', sa.Text(), nullable=False),
    sa.Column('level', sa.String(), nullable=False),
    sa.Column('code', sa.String(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('work', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['archive_id'], ['archive.id'], name=op.f('fk_refusal_archive_id_archive')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_refusal')),
    sa.UniqueConstraint('archive_id', 'item', 'level', 'code', 'work', name=op.f('uq_refusal_archive_id_item_level_code_work'))
    )
    with op.batch_alter_table('refusal', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_refusal_code'), ['code'], unique=False)
        batch_op.create_index(batch_op.f('ix_refusal_work'), ['work'], unique=False)

    op.create_table('pair',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('archive_id', sa.String(), nullable=False),
    sa.Column('content_id', sa.String(), nullable=False),
    sa.Column('sort_key', sa.Text(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('prior_id', sa.String(), nullable=False),
    sa.Column('current_id', sa.String(), nullable=False),
    sa.Column('interval_days', sa.Double(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('warnings', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['archive_id'], ['archive.id'], name=op.f('fk_pair_archive_id_archive')),
    sa.ForeignKeyConstraint(['current_id'], ['acquisition.id'], name=op.f('fk_pair_current_id_acquisition')),
    sa.ForeignKeyConstraint(['prior_id'], ['acquisition.id'], name=op.f('fk_pair_prior_id_acquisition')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pair')),
    sa.UniqueConstraint('sort_key', name=op.f('uq_pair_sort_key'))
    )
    with op.batch_alter_table('pair', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_pair_archive_id'), ['archive_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_pair_subject'), ['subject'], unique=False)

    op.create_table('report',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('pair_id', sa.String(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('model_name', sa.String(), nullable=False),
    sa.Column('model_hash', sa.String(), nullable=False),
    sa.Column('adapter_hash', sa.String(), nullable=False),
    sa.Column('prompt_version', sa.String(), nullable=False),
    sa.Column('content_sha256', sa.String(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('raw_output', sa.Text(), nullable=False),
    sa.Column('unparsed', sa.JSON(), nullable=False),
    sa.Column('quality', sa.JSON(), nullable=False),
    sa.Column('warnings', sa.JSON(), nullable=False),
    sa.Column('provenance', sa.JSON(), nullable=False),
    sa.Column('evidence_rows', sa.Integer(), nullable=False),
    sa.Column('evidence_columns', sa.Integer(), nullable=False),
    sa.Column('evidence', sa.LargeBinary(), nullable=False),
    sa.Column('prior_jpeg', sa.LargeBinary(), nullable=False),
    sa.Column('current_jpeg', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['pair_id'], ['pair.id'], name=op.f('fk_report_pair_id_pair')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_report')),
    sa.UniqueConstraint('pair_id', 'model_hash', 'adapter_hash', 'prompt_version', name=op.f('uq_report_pair_id_model_hash_adapter_hash_prompt_version'))
    )
    op.create_table('finding',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('report_id', sa.String(), nullable=False),
    sa.Column('ordinal', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('author', sa.String(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('finding', sa.String(), nullable=False),
    sa.Column('place', sa.String(), nullable=False),
    sa.Column('change', sa.String(), nullable=False),
    sa.Column('certainty', sa.String(), nullable=False),
    sa.Column('score', sa.Double(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['report_id'], ['report.id'], name=op.f('fk_finding_report_id_report')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_finding')),
    sa.UniqueConstraint('report_id', 'ordinal', 'version', name=op.f('uq_finding_report_id_ordinal_version'))
    )
    with op.batch_alter_table('finding', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_finding_domain_finding_change'), ['domain', 'finding', 'change'], unique=False)
        batch_op.create_index(batch_op.f('ix_finding_place'), ['place'], unique=False)



def downgrade() -> None:
    """Takes this version back."""
    with op.batch_alter_table('finding', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_finding_place'))
        batch_op.drop_index(batch_op.f('ix_finding_domain_finding_change'))

    op.drop_table('finding')
    op.drop_table('report')
    with op.batch_alter_table('pair', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_pair_subject'))
        batch_op.drop_index(batch_op.f('ix_pair_archive_id'))

    op.drop_table('pair')
    with op.batch_alter_table('refusal', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_refusal_work'))
        batch_op.drop_index(batch_op.f('ix_refusal_code'))

    op.drop_table('refusal')
    with op.batch_alter_table('acquisition', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_acquisition_uid'))
        batch_op.drop_index(batch_op.f('ix_acquisition_subject'))
        batch_op.drop_index(batch_op.f('ix_acquisition_archive_id_name'))

    op.drop_table('acquisition')
    op.drop_table('worker')
    op.drop_table('takeover')
    with op.batch_alter_table('audit', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_audit_domain'))

    op.drop_table('audit')
    op.drop_table('archive')
