"""What is known of each file, so that unchanged ones are not read again; the files of a volume.

Before the deploy: the code needs the table and the column.

Revision: 0002, after 0001.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0002'
down_revision: str | None = '0001'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Applies this version."""
    op.create_table('file',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('archive_id', sa.String(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('mtime_ns', sa.BigInteger(), nullable=False),
    sa.Column('inode', sa.BigInteger(), nullable=False),
    sa.Column('beside', sa.String(), nullable=False),
    sa.Column('read_at_ns', sa.BigInteger(), nullable=False),
    sa.Column('reader', sa.String(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('domain', sa.String(), nullable=False),
    sa.Column('code', sa.String(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('has_pixels', sa.Boolean(), nullable=False),
    sa.Column('uid', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('study', sa.String(), nullable=False),
    sa.Column('series', sa.String(), nullable=False),
    sa.Column('header', sa.JSON(), nullable=False),
    sa.Column('sha256', sa.String(), nullable=False),
    sa.Column('pixel_sha256', sa.String(), nullable=False),
    sa.Column('verified_with', sa.String(), nullable=False),
    sa.Column('pixel_code', sa.String(), nullable=False),
    sa.Column('pixel_reason', sa.Text(), nullable=False),
    sa.Column('double_code', sa.String(), nullable=False),
    sa.Column('double_reason', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_file'))
    )
    with op.batch_alter_table('file', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_file_archive_id_subject'), ['archive_id', 'subject'], unique=False)
        batch_op.create_index(batch_op.f('ix_file_archive_id_uid_has_pixels_double_code'), ['archive_id', 'uid', 'has_pixels', 'double_code'], unique=False)

    with op.batch_alter_table('acquisition', schema=None) as batch_op:
        batch_op.add_column(sa.Column('files', sa.JSON(), server_default='[]', nullable=False))



def downgrade() -> None:
    """Takes this version back."""
    with op.batch_alter_table('acquisition', schema=None) as batch_op:
        batch_op.drop_column('files')

    with op.batch_alter_table('file', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_file_archive_id_uid_has_pixels_double_code'))
        batch_op.drop_index(batch_op.f('ix_file_archive_id_subject'))

    op.drop_table('file')
